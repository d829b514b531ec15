"""FER2013 in each of its published forms, as a folder, an archive, or the CSV itself.

- The Kaggle folder release: `train/<class>/*.jpg` and `test/<class>/*.jpg`. The file names carry the challenge's three
  parts: `Training_` is train, `PublicTest_` its validation set (leaderboard), `PrivateTest_` its test set (final
  ranking). Where names carry no part (other copies number the files), the folder decides.
- `fer2013.csv` or `icml_face_data.csv`, with FERPlus votes beside it or without: `ferops.datasets.fer2013_csv`.

A release with only `PublicTest` beside the training images uses that part as its test set, and so do we.

Source: Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning contests" (2013),
arXiv:1307.0414: 28,709 pictures for training, 3,589 public and 3,589 private ones for the test, 48 px, grey.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ferops.datasets import fer2013_csv, ferplus
from ferops.datasets.manifest import make_row
from ferops.datasets.release import PICTURES, Folder, Release, open_release, stream_pictures, wrong_layout

LABELS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprise": "surprised",
}
PARTS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

WANTED = (
    "fer2013.csv or icml_face_data.csv, or the Kaggle folder release: train/<class>/*.jpg and test/<class>/*.jpg with "
    f"the classes {', '.join(LABELS)}"
)


class Entry(NamedTuple):
    """One picture of the release: what its place and name say about it."""

    folder: str
    label: str
    part: str | None


def read(path: Path, *, skipped: Counter[str]) -> tuple[int, Iterator[dict[str, Any]]]:
    """Return the number of pictures in a release, and its rows: in the order of the CSV, or in that of the paths.

    `skipped` counts what is left out, by reason, complete once the rows are exhausted.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, or none of the layouts. A damaged member, or more
            than a few broken rows in a CSV, are found while the rows are drawn.
    """
    release: Release
    if path.is_file() and path.suffix.lower() == ".csv":
        beside = [name for name in (path.name, ferplus.FILE) if (path.parent / name).is_file()]
        release = Folder(path.parent, skipped=skipped, only=beside)
        return fer2013_csv.read(release, path.name, parts=PARTS, skipped=skipped)
    release = open_release(path, wanted=WANTED, skipped=skipped)
    table = fer2013_csv.find(release, skipped=skipped)
    if table is not None:
        return fer2013_csv.read(release, table, parts=PARTS, skipped=skipped)
    entries = _entries(release, skipped=skipped)
    return len(entries), _rows(release, entries, skipped=skipped)


def _entries(release: Release, *, skipped: Counter[str]) -> dict[str, Entry]:
    entries = {}
    for name in release.names:
        parts = PurePosixPath(name).parts
        if len(parts) < 3 or parts[-3] not in ("train", "test"):
            skipped["not below train/ or test/"] += 1
        elif not parts[-1].lower().endswith(PICTURES):
            skipped["not a picture"] += 1
        elif parts[-2] not in LABELS:
            skipped[f"unknown class folder {parts[-2]}"] += 1
        else:
            prefix = parts[-1].split("_")[0]
            entries[name] = Entry(parts[-3], LABELS[parts[-2]], prefix if prefix in PARTS else None)
    if not {"train", "test"} <= {entry.folder for entry in entries.values()}:
        found = "not pictures in both train/<class>/ and test/<class>/"
        raise wrong_layout(release, wanted=WANTED, found=found, skipped=skipped)
    return entries


def _rows(release: Release, entries: dict[str, Entry], *, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    private = any(entry.part == "PrivateTest" for entry in entries.values())
    for name, image in stream_pictures(release, entries, skipped=skipped):
        entry = entries[name]
        usage = PARTS[entry.part] if entry.part else entry.folder
        if entry.part == "PublicTest" and not private:
            usage = "test"
        yield make_row(image, source="fer2013", label=entry.label, usage=usage)
