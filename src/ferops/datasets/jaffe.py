"""JAFFE, the Japanese Female Facial Expression data set: 213 grey TIFF images of 256 px, of 10 people.

Paper: M. J. Lyons, S. Akamatsu, M. Kamachi, J. Gyoba, "Coding Facial Expressions with Gabor Wavelets", IEEE
International Conference on Automatic Face and Gesture Recognition 1998, pp. 200-205. Documentation: the release's
README. A name such as `KA.AN1.39.tiff` says who (KA), which expression was posed (AN, DI, FE, HA, NE, SA, SU) and for
which time, and the image's number in the README's table. The numbers run to 219 with gaps, as published.

By class: AN 30, DI 29, FE 32, HA 31, NE 30, SA 31, SU 30. There is no official split.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.datasets.release import Columns, Rows, open_release, rows_of, wrong_layout

CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happy",
    "NE": "neutral",
    "SA": "sad",
    "SU": "surprised",
}

WANTED = "the published folder or archive of images named like KA.AN1.39.tiff"

_NAME = re.compile(r"(?P<subject>[A-Z]{2})\.(?P<code>[A-Z]{2})(?P<take>\d+)\.(?P<number>\d+)\.\w+", re.IGNORECASE)


def read_jaffe(path: Path, *, skipped: Counter[str]) -> Rows:
    """Read a release: label, subject (`KA`), no usage.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, or no image with a name of JAFFE.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    found: dict[str, Columns] = {}
    seen: set[str] = set()
    # TIFF first: where someone converted the images beside the published ones, those are the ones to take.
    for name in sorted(release.names, key=lambda name: not name.lower().endswith((".tiff", ".tif"))):
        file = PurePosixPath(name)
        match = _NAME.fullmatch(file.name)
        if match is None or file.suffix.lower() not in IMAGE_ENDINGS:
            skipped["not an image with a name of JAFFE (README ...)"] += 1
        elif match["code"].upper() not in CODES:
            skipped[f"unknown expression code {match['code']}"] += 1
        elif file.stem.upper() in seen:
            skipped["second copy of an image (unpacked beside its archive, or converted?)"] += 1
        else:
            seen.add(file.stem.upper())
            found[name] = {"subject": match["subject"].upper(), "label": CODES[match["code"].upper()]}
    if not found:
        raise wrong_layout(release, wanted=WANTED, found="no image of JAFFE", skipped=skipped)
    return rows_of(release, found, source="jaffe", skipped=skipped)
