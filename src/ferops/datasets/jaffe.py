"""JAFFE, the Japanese Female Facial Expression data set: 213 grey TIFF pictures of 256 px, of 10 people.

Paper: M. J. Lyons, S. Akamatsu, M. Kamachi, J. Gyoba, "Coding Facial Expressions with Gabor Wavelets", IEEE
International Conference on Automatic Face and Gesture Recognition 1998, pp. 200-205. Documentation: the release's
README. A name such as `KA.AN1.39.tiff` says who (KA), which expression was posed (AN, DI, FE, HA, NE, SA, SU) and for
which time, and the picture's number in the README's table. The numbers run to 219 with gaps, as published.

By class: AN 30, DI 29, FE 32, HA 31, NE 30, SA 31, SU 30. There is no official split.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ferops.datasets.manifest import make_row
from ferops.datasets.release import PICTURES, Release, open_release, stream_pictures, wrong_layout

CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happy",
    "NE": "neutral",
    "SA": "sad",
    "SU": "surprised",
}

WANTED = "the published folder or archive of pictures named like KA.AN1.39.tiff"

_NAME = re.compile(r"(?P<subject>[A-Z]{2})\.(?P<code>[A-Z]{2})(?P<take>\d+)\.(?P<number>\d+)\.\w+", re.IGNORECASE)


def read(path: Path, *, skipped: Counter[str]) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return the number of pictures in a release, and their rows: label, subject (`KA`), no usage.

    `skipped` counts files that were left out, by reason; complete once the rows are exhausted.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, or no picture with a name of JAFFE.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    taken: dict[str, tuple[str, str]] = {}
    seen: set[str] = set()
    # TIFF first: where someone converted the pictures beside the published ones, those are the ones to take.
    for name in sorted(release.names, key=lambda name: not name.lower().endswith((".tiff", ".tif"))):
        file = PurePosixPath(name)
        match = _NAME.fullmatch(file.name)
        if match is None or file.suffix.lower() not in PICTURES:
            skipped["not a picture with a name of JAFFE (README ...)"] += 1
        elif match["code"].upper() not in CODES:
            skipped[f"unknown expression code {match['code']}"] += 1
        elif file.stem.upper() in seen:
            skipped["second copy of a picture (unpacked beside its archive, or converted?)"] += 1
        else:
            seen.add(file.stem.upper())
            taken[name] = (match["subject"].upper(), CODES[match["code"].upper()])
    if not taken:
        raise wrong_layout(release, wanted=WANTED, found="no picture of JAFFE", skipped=skipped)
    return len(taken), _rows(release, taken, skipped=skipped)


def _rows(release: Release, taken: dict[str, tuple[str, str]], *, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    for name, image in stream_pictures(release, taken, skipped=skipped):
        subject, label = taken[name]
        yield make_row(image, source="jaffe", label=label, subject=subject)
