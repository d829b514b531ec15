"""What `ferops score --json` prints: a model's figures on a file of labelled images."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.config import FaceRules, Tta
from ferops.records.base import Record
from ferops.records.metrics import Chance, Interval


class ClassScore(Record):
    """Of one class; `n` counts its images. A figure is None where it is undefined."""

    n: int
    precision: float | None
    recall: float | None
    f1: float | None


class ClassIntervals(Record):
    """The figures of one class with their intervals."""

    precision: Interval
    recall: Interval
    f1: Interval


class ScoreIntervals(Record):
    """The figures with their intervals, by the cluster bootstrap.

    Attributes:
        level: confidence level, 0.5-1.
        samples: number of resamples.
        seed: of the draws; the same for every model.
        by: what was drawn: people and clusters as the file names them, else images.
        clusters: how many of them there are.
    """

    level: float
    samples: int
    seed: int
    by: Literal["person", "cluster", "person and cluster", "image"]
    clusters: int
    accuracy: Interval
    macro_f1: Interval
    accuracy_end_to_end: Interval
    per_class: dict[str, ClassIntervals]


class ScoreFigures(Record):
    """How the answers compare with the labels.

    Attributes:
        classes: what was judged, in the order of `confusion`.
        accuracy: of the images with a face.
        macro_f1: mean F1 of the classes that occur in the file.
        accuracy_end_to_end: an image in which no face was found is a wrong answer.
        n: images with a face.
        n_end_to_end: those and the images in which no face was found.
        confusion: counts, rows true, columns predicted.
    """

    classes: tuple[str, ...]
    accuracy: float
    macro_f1: float
    accuracy_end_to_end: float
    n: int
    n_end_to_end: int
    per_class: dict[str, ClassScore]
    confusion: tuple[tuple[int, ...], ...]
    chance: Chance
    intervals: ScoreIntervals


class LeftOut(Record):
    """Rows that were not judged, by reason. With `n` they add up to the rows of the file.

    Attributes:
        no_label: the label is null.
        other_label: the model has no class for the label.
        undecodable: the image cannot be decoded.
        small_face: the face is smaller than the model's `min_face_px`.
        no_face: no face was found.
    """

    no_label: int
    other_label: int
    undecodable: int
    small_face: int
    no_face: int


class Framing(Record):
    """How the faces were made.

    Attributes:
        asked: the option `--framing`.
        aligned: judged images whose face was found and aligned.
        whole: judged images that are their own face.
        settings: the model's.
    """

    asked: Literal["auto", "whole", "aligned"]
    aligned: int
    whole: int
    settings: FaceRules


class ScoredModel(Record):
    """The model that was scored.

    Attributes:
        given: as `--model` names it.
        kind: trained weights or an exported file.
        version: `models:/NAME/VERSION` in the registry; None for a file.
        file: what ran.
        sha256: of that file, hex.
        tta: the test-time augmentation with which it was scored.
        classes: what the model answers.
        sources: the data sets that it was trained on.
        data_version: of the training data, as in `Provenance`, like `split_hash`, `git_commit` and `seed`.
    """

    given: str
    kind: Literal["weights", "export"]
    version: str | None
    file: str
    sha256: str
    architecture: str
    size_px: int
    tta: Tta
    classes: tuple[str, ...]
    sources: tuple[str, ...]
    data_version: str
    split_hash: str | None
    git_commit: str | None
    seed: int


class ScoredData(Record):
    """The file of labelled images, as it is.

    Attributes:
        sha256: of the file, hex.
        labels: rows by label; null counts under "".
        sources: rows by source.
        usage: rows by official split.
        renamed: label as found -> the class that it was understood as.
        duplicates: judged images that repeat the pixels of an earlier one.
        conflicting: those of them whose copies do not all have one label.
    """

    file: str
    sha256: str
    rows: int
    labels: dict[str, int]
    sources: dict[str, int]
    usage: dict[str, int]
    renamed: dict[str, str]
    duplicates: int
    conflicting: int


class Score(ScoreFigures):
    """A model on a file of labelled images. Its own figures are of the model as it answers, on all its classes.

    Attributes:
        renormalised: the same images, with the probabilities renormalised over the classes that occur in the file; None
            where all of the model's classes occur, or fewer than two.
        notes: sentences on what limits the figures.
    """

    stored_in: ClassVar[str] = "standard output"
    made_by: ClassVar[str] = "ferops score --model MODEL --data FILE --json"

    renormalised: ScoreFigures | None
    left_out: LeftOut
    framing: Framing
    model: ScoredModel
    data: ScoredData
    notes: tuple[str, ...]
