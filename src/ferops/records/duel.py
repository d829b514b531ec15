"""What `ferops compare A B --data FILE` finds out: two models on the same labelled images."""

from __future__ import annotations

from typing import ClassVar

from ferops.records.base import Record
from ferops.records.metrics import Interval
from ferops.records.score import ScoredModel


class DuelSlice(Record):
    """Both models on some of the images; no face found is a wrong answer.

    Attributes:
        column, value: `label` and `happy`, `group_age` and `old`, ...; both empty for all images.
        n: images.
        first, second: accuracies.
        difference: first minus second, paired: both on the same draws.
        fixed: images that the first answers right and the second wrong.
        broken: the reverse.
        small: too few images to judge by.
    """

    column: str
    value: str
    n: int
    clusters: int
    first: Interval
    second: Interval
    difference: Interval
    fixed: int
    broken: int
    small: bool


class Duel(Record):
    """Two models on a file of labelled images, each as it is served, on the classes that both answer.

    Attributes:
        verdict: a sentence.
        left_out: rows without such a class, that do not decode, or with a face too small for one of the models.
        no_face: of the judged images, those in which the first and the second found none.
        macro_f1, macro_f1_difference: of the first, of the second; first minus second, paired.
        level: of the intervals.
        by: what was drawn: people and clusters as the file names them, else images.
        slices: by every column that has several values, the largest loss first.
        notes: sentences on what limits the comparison.
    """

    stored_in: ClassVar[str] = "standard output"
    made_by: ClassVar[str] = "ferops compare A B --data FILE --json"

    verdict: str
    models: tuple[ScoredModel, ScoredModel]
    file: str
    sha256: str
    classes: tuple[str, ...]
    left_out: int
    no_face: tuple[int, int]
    whole: DuelSlice
    macro_f1: tuple[Interval, Interval]
    macro_f1_difference: Interval
    level: float
    by: str
    slices: tuple[DuelSlice, ...]
    notes: tuple[str, ...]
