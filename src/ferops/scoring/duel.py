"""`ferops compare A B --data FILE`: two models on the same labelled images, each as it is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.classes import canonical
from ferops.errors import FeropsError
from ferops.evaluation import metrics
from ferops.evaluation.bootstrap import Resampler
from ferops.faces.detection import Detector
from ferops.files import sha256
from ferops.formats import interval
from ferops.layout import Layout
from ferops.records.duel import Duel, DuelSlice
from ferops.records.metrics import Interval
from ferops.scoring.framing import Framer
from ferops.scoring.model import Model, opened
from ferops.scoring.score import LEVEL, answers_of, clusters_of, resampler
from ferops.scoring.table import Table, read_groups, read_table

MIN_IMAGES = 20
"""A slice with fewer is shown, and nothing is said of it."""

_NO_FACE, _SMALL_FACE = -1, -2


def duel(layout: Layout, first: str, second: str, data: Path, *, detector: Detector | None = None) -> Duel:
    """Judge two models on a file of labelled images, on the classes that both answer. Nothing is written.

    Args:
        first, second: as `ferops.scoring.model.opened` takes them; differences are first minus second.
        data: as `ferops.scoring.table.read_table` takes it; columns `group_*` make slices.
        detector: finds the faces, by default the one that each model's settings name.

    Raises:
        FeropsError: see `opened` and `read_table`; the models share fewer than two classes; or no image is left.
    """
    facts = read_table(data)
    with opened(layout, first) as one, opened(layout, second) as other:
        theirs = {canonical(name) for name in other.config.classes}
        classes = tuple(name for name in one.config.classes if canonical(name) in theirs)
        if len(classes) < 2:
            raise FeropsError(
                f"{first} answers {', '.join(one.config.classes)} and {second} {', '.join(other.config.classes)}: a "
                f"comparison needs two classes that both answer, found {len(classes)}"
            )
        table = facts.judged_by(classes)
        found = [_answers(table, model, classes, detector) for model in (one, other)]
    answers = pd.concat([each.predicted for each in found], axis=1, join="inner", keys=[0, 1])
    answers = answers[(answers != _SMALL_FACE).all(axis=1)]
    rows = table.rows.loc[answers.index].join(read_groups(data))
    clusters, by = clusters_of(rows, found[0].pixels)
    labels = np.array([classes.index(name) for name in rows["class"]], np.intp)
    predicted = answers.to_numpy(np.intp)  # (N, 2)
    draws = resampler(clusters)
    right = (predicted == labels[:, None]).astype(np.float64)
    whole = _slice(draws, right, np.ones(len(rows), bool), "", "")
    macro = [metrics.macro_f1(_counts(draws, labels, predicted[:, which], len(classes))) for which in (0, 1)]
    figures = [draws.interval(each, clusters=draws.count) for each in macro]
    return Duel(
        verdict=_verdict(whole.difference),
        models=(one.about, other.about),
        file=str(data),
        sha256=sha256(data),
        classes=classes,
        left_out=len(facts.rows) - len(rows),
        no_face=tuple((predicted == _NO_FACE).sum(axis=0).tolist()),
        whole=whole,
        macro_f1=(figures[0], figures[1]),
        macro_f1_difference=draws.interval(macro[0] - macro[1], clusters=draws.count, share=False),
        level=LEVEL,
        by=by,
        slices=tuple(_slices(draws, rows, right)),
        notes=tuple(_notes((one, other), found, rows)),
    )


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class _Answered:
    """By row: the index of the class that a model answers, _NO_FACE or _SMALL_FACE; and the hash of the pixels."""

    predicted: pd.Series[int]
    pixels: dict[int, str]
    trained_on: frozenset[str]


def _answers(table: Table, model: Model, classes: tuple[str, ...], detector: Detector | None) -> _Answered:
    framer = Framer.of(model.config, "auto", origin=model.about.file)
    answers = answers_of(table, model, framer, detector)
    own = [canonical(name) for name in model.config.classes]
    shared = answers.probabilities[:, [own.index(canonical(name)) for name in classes]]
    predicted = answers.statuses.map({"no_face": _NO_FACE, "small_face": _SMALL_FACE}).fillna(0).astype(int)
    predicted[answers.with_face] = shared.argmax(axis=1)
    return _Answered(predicted, framer.pixels, framer.trained_on)


def _counts(draws: Resampler, labels: NDArray[np.intp], predicted: NDArray[np.intp], k: int) -> NDArray[np.float64]:
    """Return confusion counts `(1 + B, K + 1, K + 1)`: the last class is no face, which is no label."""
    features = metrics.confusion_features(labels, np.where(predicted == _NO_FACE, k, predicted), k + 1)
    return draws.totals(features, np.arange(len(labels))).reshape(-1, k + 1, k + 1)


def _slices(draws: Resampler, rows: pd.DataFrame, right: NDArray[np.float64]) -> list[DuelSlice]:
    columns = ["class", "source", "usage", *(name for name in rows if str(name).startswith("group_"))]
    found = []
    for column in columns:
        values = sorted(rows[column].dropna().unique())
        for value in values if len(values) > 1 else []:
            name = "label" if column == "class" else str(column)
            found.append(_slice(draws, right, (rows[column] == value).to_numpy(), name, str(value)))
    return sorted(found, key=lambda each: (each.small, each.difference.value or 0.0))


def _slice(
    draws: Resampler, right: NDArray[np.float64], inside: NDArray[np.bool_], column: str, value: str
) -> DuelSlice:
    """Compare on the images `inside`; `right` `(N, 2)` is 1 where a model's answer is the label."""
    place = np.flatnonzero(inside)
    right = right[place]
    one, other, n = draws.totals(np.column_stack([right, np.ones(len(place))]), place).T
    clusters = draws.clusters_in(place)
    accuracies = [draws.interval(metrics.ratio(hits, n), clusters=clusters) for hits in (one, other)]
    return DuelSlice(
        column=column,
        value=value,
        n=len(place),
        clusters=clusters,
        first=accuracies[0],
        second=accuracies[1],
        difference=draws.interval(metrics.ratio(one - other, n), clusters=clusters, share=False),
        fixed=int((right[:, 0] > right[:, 1]).sum()),
        broken=int((right[:, 0] < right[:, 1]).sum()),
        small=len(place) < MIN_IMAGES,
    )


def _verdict(difference: Interval) -> str:
    low, high = difference.low, difference.high
    how = interval(difference, signed=True)
    if low is not None and low > 0:
        return f"The first is more accurate than the second, by {how} points."
    if high is not None and high < 0:
        return f"The first is less accurate than the second, by {how} points."
    return f"These images cannot tell the two apart: {how} points of accuracy."


def _notes(models: tuple[Model, Model], found: list[_Answered], rows: pd.DataFrame) -> list[str]:
    sources = set(rows["source"].dropna())
    notes = [
        f"{model.about.given} was trained on data of {', '.join(sorted(answered.trained_on & sources))}: images that "
        "it has seen make it look better"
        for model, answered in zip(models, found, strict=True)
        if answered.trained_on & sources
    ]
    if sources == {"synthetic"}:
        notes.append("the images are rendered, not photographed: the figures say nothing about real faces")
    return notes
