"""What the stage `evaluate` measures on the test split: artifacts/evaluate/metrics.json, which the gates read."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.config import Tta
from ferops.records.base import Record
from ferops.records.interval import Interval as Interval  # noqa: PLC0414 # who reads metrics finds it here, too
from ferops.records.provenance import Provenance


class ClassFigures(Record):
    """Of one class; `support` counts its test faces."""

    precision: Interval
    recall: Interval
    f1: Interval
    support: int


class Review(Record):
    """What a person would have to look at: faces whose calibrated confidence is below `threshold`."""

    threshold: float
    share_flagged: float
    n_kept: int
    accuracy_kept: float | None


class CalibrationBin(Record):
    """A bin of faces with like confidence: their number, mean confidence and accuracy."""

    n: int
    confidence: float
    accuracy: float


class Figures(Record):
    """Of one model on the test split.

    Attributes:
        classes: what the model was evaluated on, in the order of `confusion`.
        brier: 0-2.
        log_loss: in nats.
        accuracy_missed_as_wrong: no face found is an error, whether the image was left out or kept whole; without
            tight crops, None where nothing else is left.
        calibration_error_by_chance: what perfect calibration would show on so many faces.
        confusion: counts, rows true, columns predicted.
    """

    classes: tuple[str, ...]
    accuracy: Interval
    macro_f1: Interval
    balanced_accuracy: Interval
    calibration_error: Interval
    calibration_error_by_chance: float
    brier: Interval
    log_loss: Interval
    accuracy_missed_as_wrong: Interval
    per_class: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]
    review: Review
    calibration_bins: tuple[CalibrationBin, ...]


class Uncalibrated(Record):
    """The same model at temperature 1."""

    calibration_error: Interval
    calibration_bins: tuple[CalibrationBin, ...]
    log_loss: Interval


class CandidateFigures(Figures):
    """Of the exported candidate, with its test-time augmentation (`tta`) and its fitted temperature."""

    tta: Tta = "off"
    temperature: float
    uncalibrated: Uncalibrated


class Scores(Record):
    """The two figures that models are compared by."""

    accuracy: Interval
    macro_f1: Interval


class ChampionFigures(Figures):
    """Of the champion, on the classes that it shares with the candidate.

    Its probabilities are renormalised over the shared `classes`, and test images with other labels are left out.

    Attributes:
        version: of the registered model.
        own_classes: all that the champion answers.
        n: test faces that it is evaluated on.
        candidate: the candidate's figures on the same faces and classes.
        split_hash: of the split that it was trained on.
        same_split: it was trained on the split that it is evaluated on.
        notes: sentences on what limits the comparison.
    """

    version: str
    own_classes: tuple[str, ...]
    n: int
    candidate: Scores
    split_hash: str | None
    same_split: bool
    notes: tuple[str, ...]


class UncomparedChampion(Record):
    """A champion that shares fewer than two classes with the candidate: `notes` say why there are no figures."""

    version: str
    own_classes: tuple[str, ...]
    split_hash: str | None
    same_split: bool
    notes: tuple[str, ...]


class Chance(Record):
    """The most frequent class as the constant `answer`; `uniform_accuracy` is one over the number of classes."""

    answer: str
    accuracy: float
    macro_f1: float
    uniform_accuracy: float


class Difference(Scores):
    """One model minus another on the same draws of clusters, each figure -1 to 1."""


class SliceColumn(Record):
    """How a column was cut: `n` faces with a value, `missing` without; `bounds` of the thirds of a condition."""

    column: str
    kind: Literal["source", "people", "condition"]
    n: int
    missing: int
    bounds: tuple[float, ...] | None


class Slice(Record):
    """The candidate on one slice of the test split.

    A source or group of people in which no face was found has `n` 0 and figures without a value.

    Attributes:
        n_no_face: test images of it without a face; None for conditions.
        small: too few faces to judge by.
    """

    column: str
    kind: Literal["source", "people", "condition"]
    value: str
    n: int
    n_no_face: int | None
    clusters: int
    accuracy: Interval
    macro_f1: Interval
    accuracy_minus_whole: Interval
    small: bool


class SplitCounts(Record):
    """Images of one split; `known_subject` counts those whose person the data name."""

    images: int
    no_face: int
    small_face: int
    known_subject: int
    clusters: int
    classes: dict[str, int]
    sources: dict[str, int]


class Latency(Record):
    """Of `repeats` calls with `batch` faces each, in milliseconds."""

    p50: float
    p95: float
    batch: int
    repeats: int


class Cost(Record):
    """What the served file costs on the machine that ran the stage; 1 MB is 10^6 bytes."""

    parameters: int
    file_mb: float
    latency_ms: Latency
    images_per_s: float
    images_per_s_batch: int
    cpu: str
    cpu_cores: int


class EndToEnd(Record):
    """The test images as the service answers them: searched, aligned and classified by the Predictor.

    An image's answer is that for its preferred face, the first one.

    Attributes:
        n: all test images.
        no_face: share of the images in which no face is found.
        wrong_face: share of the images in which the face taken is not the labelled one, of the `n_face_known` images
            where that can be decided; the value is None, with a reason, where it can be decided in none.
        low_confidence: share of the images whose answer goes to a person.
        answered: share of the images with the status `ok`.
        accuracy: no face and a wrong face count as errors.
        accuracy_answered: of the images with the status `ok`.
        agreement: share of the packed test faces whose image gets the same answer here.
    """

    n: int
    n_face_known: int
    no_face: Interval
    wrong_face: Interval
    low_confidence: Interval
    answered: Interval
    accuracy: Interval
    accuracy_answered: Interval
    agreement: Interval


class LabelSets(Record):
    """The sets of classes that the candidate answers beside the label.

    Attributes:
        wanted: share of the sets that are to hold the label, over all faces.
        threshold: a class is in the set from this probability on.
        coverage: share of the sets that hold the label.
        mean_size: classes in a set.
        sizes: how many sets have 1, 2, ... classes.
        by_class: the coverage of each class, about which nothing is promised.
    """

    wanted: float
    threshold: float
    coverage: Interval
    mean_size: Interval
    sizes: tuple[int, ...]
    by_class: dict[str, Interval]


class Decision(Record):
    """What the candidate's answers cost per face, in the unit of `evaluate.costs`.

    Attributes:
        costs: true class -> answer -> cost.
        priors: class -> share of it in the place of use, which the costs are weighted with; None for that of the test
            faces.
        learnt: class -> share that the probabilities assume, by the training faces and their weights.
        cost_of_likeliest: of the class with the largest probability, which is what the Predictor answers.
        cost: of the class with the lowest expected cost.
        saved: the difference, paired.
        changed_share: share of the test faces for which the two answers differ.
    """

    costs: dict[str, dict[str, float]]
    priors: dict[str, float] | None
    learnt: dict[str, float]
    cost_of_likeliest: Interval
    cost: Interval
    saved: Interval
    changed_share: float


class People(Record):
    """One annotator and the candidate, judged by the same answers on the same faces; the difference is paired."""

    annotator: Interval
    candidate: Interval
    candidate_minus_annotator: Interval


class Confused(Record):
    """A mistake that the candidate makes on `n` faces: `answer` where the label says `label`.

    Attributes:
        candidate, annotator: share of the faces with this label for which it, or one annotator, gives this answer.
    """

    label: str
    answer: str
    n: int
    candidate: Interval
    annotator: Interval
    candidate_minus_annotator: Interval


class Annotators(Record):
    """What the votes of several annotators say, on the test faces with two votes or more for the classes.

    Attributes:
        n: such faces.
        votes_per_face: for the classes, the mean.
        other_votes: share of their votes that is for none of the classes, and left out.
        label: by the published label: how often one annotator gives it.
        majority: by what most of the other annotators say: the label ceiling. A tie counts by its share.
        confusion: rows labels, columns answers: the sum over faces of the share of votes.
        pairs: the candidate's most frequent mistakes.
        mistakes: of the candidate, by the label.
        mistakes_of_one, mistakes_of_most: share of them in which at least one annotator, or more than half of them,
            gave the same answer; None without mistakes.
    """

    n: int
    votes_per_face: float
    other_votes: float
    label: People
    majority: People
    confusion: tuple[tuple[float, ...], ...]
    pairs: tuple[Confused, ...]
    mistakes: int
    mistakes_of_one: float | None
    mistakes_of_most: float | None


class CalibrationTrial(Record):
    """A way to calibrate, on validation faces that it was not fitted to.

    Attributes:
        method: `none`; `temperature`, one factor; `vector` scaling, a factor and an offset for each class; `isotonic`
            regression of each class against the rest.
        log_loss, brier, accuracy: each source counting alike.
        changed_share: share of the faces with another answer than without calibration.
        log_loss_minus_temperature: paired; below 0 with its whole interval, the method is better beyond chance.
    """

    method: Literal["none", "temperature", "vector", "isotonic"]
    log_loss: float
    brier: float
    accuracy: float
    changed_share: float
    log_loss_minus_temperature: Interval


class CrossValidation(Record):
    """Baseline and candidate on the faces of all splits, each face answered by models that have not seen it.

    They are trained weights before their export, FP32 and without test-time augmentation; the probabilities of the
    candidate's are divided by the exported candidate's temperature.

    Attributes:
        folds: the model of each is trained by the candidate's settings on all but that fold; one is the candidate.
        n: faces.
        clusters: of the faces.
        candidate_minus_baseline, candidate_minus_chance: paired, over all faces.
    """

    folds: int
    n: int
    clusters: int
    candidate: Figures
    baseline: Figures
    candidate_minus_baseline: Difference
    candidate_minus_chance: Difference


class Metrics(Record):
    """The evaluation of the candidate on the test split, beside baseline, champion and chance.

    Attributes:
        classes: the candidate's, which the test split is labelled with.
        n: test faces.
        n_tight: those of them that are whole images in which no face was searched for.
        n_unfound: those that are whole images because no plausible face was found.
        n_no_face: test images left out without a face.
        n_small_face: test images left out because the face is too small.
        clusters: of the faces.
        worst_slices: the five furthest behind, of those with enough samples.
        champion, candidate_minus_champion: None without a champion; the difference is also None where the champion
            shares fewer than two classes with the candidate.
        end_to_end: the candidate on the images as published, where all else is measured on the packed faces.
        data: by split.
        decision: None without `evaluate.costs` and `evaluate.priors`.
        sets: None for an export of before, which has none.
        annotators: None where the data hold no votes.
        crossvalidation: None without `train.every_fold`.
        calibrations: the temperature beside other ways to calibrate; empty with fewer than five validation faces.
        export_digest: of the folder that was judged (`ferops.model_config.export_digest`); None in a file of before.
    """

    stored_in: ClassVar[str] = "artifacts/evaluate/metrics.json"
    made_by: ClassVar[str] = "ferops evaluate"

    provenance: Provenance
    classes: tuple[str, ...]
    split: Literal["test"]
    n: int
    n_tight: int
    n_unfound: int
    n_no_face: int
    n_small_face: int
    clusters: int
    confidence_level: float
    bootstrap_samples: int
    candidate: CandidateFigures
    baseline: Figures
    champion: ChampionFigures | UncomparedChampion | None
    chance: Chance
    candidate_minus_baseline: Difference
    candidate_minus_champion: Difference | None
    candidate_minus_chance: Difference
    slices: tuple[Slice, ...]
    slice_columns: tuple[SliceColumn, ...]
    worst_slices: tuple[Slice, ...]
    data: dict[str, SplitCounts]
    end_to_end: EndToEnd
    cost: Cost
    decision: Decision | None = None
    sets: LabelSets | None = None
    annotators: Annotators | None = None
    calibrations: tuple[CalibrationTrial, ...] = ()
    export_digest: str | None = None
    crossvalidation: CrossValidation | None = None
