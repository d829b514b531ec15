"""FERPlus: what ten people each saw in the images of FER2013.

`fer2013new.csv` (Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
Distribution", ICMI 2016, arXiv:1608.01041; github.com/microsoft/FERPlus) has one line for each line of fer2013.csv, in
the same order: Usage, Image name (empty where the image was removed; its numbers are not those of the lines), and the
votes for neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown and NF, "not a face".

The folder release on Kaggle has no such order. A CSV with a column `file` and the same ten columns gives its votes, by
the images' file names (`ferops import fer2013 PATH --votes FILE`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from ferops.classes import canonical
from ferops.datasets.release import Folder, Release
from ferops.datasets.tables import lines
from ferops.datasets.untrusted import KEPT
from ferops.errors import FeropsError

FILE = "fer2013new.csv"
COLUMNS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf",
)  # fmt: skip
VOTES = {column: "not_a_face" if column == "nf" else canonical(column) for column in COLUMNS}
"""FERPlus's columns -> ours, after `votes_`."""

MIN_AGREEMENT = 0.4
"""Share of labels that got the most votes. FERPlus renamed about a third of them; shifted by a line, the two agree no
more than by chance, which is a fifth."""
ENOUGH_TO_JUDGE = 500

_LISTED = ", ".join(COLUMNS)
_REMEDY = f"Put the {FILE} of FERPlus beside the original fer2013.csv, or move it away"


class Votes:
    """The votes of one file; `of` is asked line after line, then `check`."""

    def __init__(self, release: Release, name: str) -> None:
        """Raises FeropsError: a column is missing, or a vote is not a whole number from 0 to 255."""
        self._where = f"{release.path}, {name}"
        self._usage: list[str] = []
        counts = bytearray()
        for line, row in lines(release, name, columns=("usage", *VOTES)):
            self._usage.append(row["usage"])
            counts += _counts(row, where=f"{self._where}, line {line}")
        self._counts = np.frombuffer(bytes(counts), np.uint8).reshape(-1, len(VOTES))
        self._agreement = Agreement(self._where, remedy=_REMEDY)

    def require(self, images: int) -> None:
        """Raise FeropsError unless there is a line for each of the images."""
        if len(self._usage) != images:
            raise FeropsError(
                f"{self._where} has {len(self._usage)} lines of votes, but the CSV beside it {images} images: they "
                f"must be as many, in the same order. {_REMEDY}"
            )

    def of(self, number: int, *, usage: str, label: str) -> dict[str, int]:
        """Return votes_<name> -> votes for the image in line `number` (from 0) of the table, whose part and label
        show whether the lines still belong together."""
        if self._usage[number] != usage:
            raise FeropsError(
                f"{self._where}: its image {number + 1} is {self._usage[number]!r}, in the CSV beside it {usage!r}: "
                f"the two have another order. {_REMEDY}"
            )
        votes = _named(self._counts[number])
        self._agreement.note(votes, label=label)
        return votes

    def check(self) -> None:
        """Raise FeropsError if the votes are evidently those of other images."""
        self._agreement.check()


def votes_by_name(path: Path, labels: Mapping[str, str], *, skipped: Counter[str]) -> dict[str, dict[str, int | None]]:
    """Return path of an image -> votes_<name> -> votes, from the CSV at `path`, for all images of `labels`.

    An image without a line has None for every vote. `skipped` counts these images (which come in), and the lines
    without an image, or with a name that several images have.

    Args:
        labels: path of an image in its release -> label.

    Raises:
        FeropsError: no such file, no column `file`, an image twice, a vote that is not a whole number from 0 to 255, no
            line for any image, or votes that are evidently for other images.
    """
    if not path.is_file():
        raise FeropsError(f"{path}, named by --votes, is not a file; wanted a CSV with the columns file, {_LISTED}")
    images: dict[str, list[str]] = {}
    for image in labels:
        images.setdefault(PurePosixPath(image).name, []).append(image)
    found: dict[str, dict[str, int | None]] = {}
    at: dict[str, int] = {}
    agreement = Agreement(str(path), remedy="Take the votes that belong to this release, or leave --votes out")
    only = Folder(path.parent, skipped=Counter(), only=[path.name])
    for line, row in lines(only, path.name, columns=("file", *VOTES)):
        where, name = f"{path}, line {line}", PurePosixPath(row["file"].replace("\\", "/")).name
        counts = _counts(row, where=where)
        known = images.get(name, [])
        if len(known) > 1:  # one name in two class folders, as once on Kaggle: nobody knows which one was voted on
            skipped["line of the votes for a name that several images have"] += 1
            continue
        if name in at:
            raise FeropsError(f"{where}: {name!r} has votes in line {at[name]} already; keep one of the two")
        at[name] = line
        if not known:
            skipped["line of the votes without an image"] += 1
            continue
        votes = _named(counts)
        agreement.note(votes, label=labels[known[0]])
        found[known[0]] = dict(votes)
    if not found:
        raise FeropsError(
            f"{path} has votes for {len(at)} images, and this release has no image that one of them names"
        )
    agreement.check()
    if len(found) < len(labels):
        skipped[f"image without votes{KEPT}"] += len(labels) - len(found)
    without: dict[str, int | None] = {f"votes_{name}": None for name in VOTES.values()}
    return {image: found.get(image, without) for image in labels}


class Agreement:
    """How many labels got the most votes; with too few, the votes are those of other images."""

    def __init__(self, where: str, *, remedy: str) -> None:
        self._where, self._remedy = where, remedy
        self._judged, self._agreeing = 0, 0

    def note(self, votes: Mapping[str, int], *, label: str) -> None:
        self._judged += 1
        self._agreeing += votes[f"votes_{label}"] == max(votes.values())

    def check(self) -> None:
        """Raise FeropsError if the votes are evidently those of other images."""
        if self._judged >= ENOUGH_TO_JUDGE and self._agreeing < MIN_AGREEMENT * self._judged:
            raise FeropsError(
                f"{self._where}: only {self._agreeing} of {self._judged} labels have the most votes, as if they were "
                f"votes for other images. {self._remedy}"
            )


def _counts(row: Mapping[str, str], *, where: str) -> bytes:
    """Return the ten votes of a line in the order of VOTES."""
    try:
        return bytes(int(row[column]) for column in VOTES)
    except ValueError as error:
        raise FeropsError(f"{where}: votes are whole numbers from 0 to 255") from error


def _named(counts: Iterable[int]) -> dict[str, int]:
    return {f"votes_{name}": int(count) for name, count in zip(VOTES.values(), counts, strict=True)}
