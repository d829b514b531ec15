"""FER2013 in each of its published forms, as a folder, an archive, or the CSV itself.

- The Kaggle folder release: `train/<class>/*.jpg` and `test/<class>/*.jpg`. The file names carry the challenge's three
  parts: `Training_` is train, `PublicTest_` its validation set (leaderboard), `PrivateTest_` its test set (final
  ranking). Where names carry no part (other copies number the files), the folder decides.
  FERPlus votes come from a table by file name (`--votes`).
- `fer2013.csv` or `icml_face_data.csv`, with FERPlus votes beside it or without: `ferops.datasets.fer2013_csv`.

A release with only `PublicTest` beside the training images uses that part as its test set, and so do we.

Source: Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning contests" (2013),
arXiv:1307.0414: 28,709 images for training, 3,589 public and 3,589 private ones for the test, 48 px, grey.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from ferops.classes import canonical
from ferops.datasets import fer2013_csv, ferplus
from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.datasets.release import Folder, Release, Rows, open_release, rows_of, wrong_layout
from ferops.errors import FeropsError

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Names of the class folders."""
PARTS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

WANTED = (
    "fer2013.csv or icml_face_data.csv, or the Kaggle folder release: train/<class>/*.jpg and test/<class>/*.jpg with "
    f"the classes {', '.join(CLASSES)}"
)


def read_fer2013(path: Path, *, skipped: Counter[str], votes: Path | None = None) -> Rows:
    """Read a release: label and usage, no subject; in the order of the CSV, or in that of the paths.

    `votes` is FERPlus's votes by file name, for the folder release (`ferplus.votes_by_name`).

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no known layout, or unfit votes. A damaged member, or
            more than a few broken rows in a CSV, are found while the rows are drawn.
    """
    release: Release
    in_order = f"takes its votes from {ferplus.FILE} in the same folder, line by line. Put it there, without --votes"
    if path.is_file() and path.suffix.lower() == ".csv":
        if votes:
            raise FeropsError(f"{path} {in_order}")
        beside = [name for name in (path.name, ferplus.FILE) if (path.parent / name).is_file()]
        release = Folder(path.parent, skipped=skipped, only=beside)
        return fer2013_csv.read_table(release, path.name, parts=PARTS, skipped=skipped)
    release = open_release(path, wanted=WANTED, skipped=skipped)
    table = fer2013_csv.find_table(release, skipped=skipped)
    if table is not None:
        if votes:
            raise FeropsError(f"{release.path} holds {table}, which {in_order}")
        return fer2013_csv.read_table(release, table, parts=PARTS, skipped=skipped)
    found: dict[str, dict[str, Any]] = dict(_images(release, skipped=skipped))
    if votes:
        voted = ferplus.votes_by_name(votes, {name: one["label"] for name, one in found.items()}, skipped=skipped)
        found = {name: one | voted[name] for name, one in found.items()}
    return rows_of(release, found, source="fer2013", skipped=skipped)


def _images(release: Release, *, skipped: Counter[str]) -> dict[str, dict[str, str]]:
    """Return path -> label and usage of the images of the folder release."""
    found: dict[str, dict[str, str]] = {}
    folders, parts_named = set(), set()
    for name in release.names:
        parts = PurePosixPath(name).parts
        if len(parts) < 3 or parts[-3] not in ("train", "test"):
            skipped["not below train/ or test/"] += 1
        elif not parts[-1].lower().endswith(IMAGE_ENDINGS):
            skipped["not an image"] += 1
        elif parts[-2] not in CLASSES:
            skipped[f"unknown class folder {parts[-2]}"] += 1
        else:
            part = parts[-1].split("_")[0]
            folders.add(parts[-3])
            parts_named.add(part)
            found[name] = {"label": canonical(parts[-2]), "usage": part if part in PARTS else parts[-3]}
    if folders != {"train", "test"}:
        reason = "not images in both train/<class>/ and test/<class>/"
        raise wrong_layout(release, wanted=WANTED, found=reason, skipped=skipped)
    usages = PARTS if "PrivateTest" in parts_named else PARTS | {"PublicTest": "test"}
    return {name: {**one, "usage": usages.get(one["usage"], one["usage"])} for name, one in found.items()}
