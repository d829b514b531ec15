"""FERPlus: what ten people each saw in the images of FER2013.

`fer2013new.csv` (Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
Distribution", ICMI 2016, arXiv:1608.01041; github.com/microsoft/FERPlus) has one line for each line of fer2013.csv, in
the same order: Usage, Image name (empty where the image was removed; its numbers are not those of the lines), and the
votes for neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown and NF, "not a face".
"""

from __future__ import annotations

import numpy as np

from ferops.classes import canonical
from ferops.datasets.release import Release
from ferops.datasets.tables import lines
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
            try:
                counts += bytes(int(row[column]) for column in VOTES)
            except ValueError as error:
                raise FeropsError(f"{self._where}, line {line}: votes are whole numbers") from error
        self._counts = np.frombuffer(bytes(counts), np.uint8).reshape(-1, len(VOTES))
        self._judged, self._agreeing = 0, 0

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
        votes = {f"votes_{name}": int(count) for name, count in zip(VOTES.values(), self._counts[number], strict=True)}
        self._judged += 1
        self._agreeing += votes[f"votes_{label}"] == max(votes.values())
        return votes

    def check(self) -> None:
        """Raise FeropsError if the votes are evidently those of other images."""
        if self._judged >= ENOUGH_TO_JUDGE and self._agreeing < MIN_AGREEMENT * self._judged:
            raise FeropsError(
                f"{self._where}: only {self._agreeing} of {self._judged} labels have the most votes, as if they were "
                f"votes for other images. {_REMEDY}"
            )
