"""The candidate's figures on slices of the test split: sources, groups of people, conditions of the image.

The resamples are those of the whole test split, so that a slice minus the whole is a paired difference. (fairlearn's
MetricFrame gives the same values; its bootstrap draws rows, where whole clusters must be drawn.)
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ferops.evaluation import metrics
from ferops.evaluation.performance import Performance, TestSet
from ferops.records.metrics import Interval, Slice, SliceColumn

CONDITIONS = ("brightness", "sharpness", "face_px", "yaw_degrees")
"""Columns of faces.parquet that are cut in thirds."""

WORST = 5

_UNSEEN = Interval(value=None, low=None, high=None, reason="no face was found in any of the images")


def measure_slices(
    test: TestSet, whole: Performance, faces: pd.DataFrame, missed: pd.DataFrame, *, min_samples: int
) -> tuple[tuple[SliceColumn, ...], tuple[Slice, ...]]:
    """Return how each column was cut, and the figures of each slice.

    Args:
        whole: the candidate on all faces.
        faces: the N rows of faces.parquet that `test.labels` belong to, in that order.
        missed: the rows of the test images in which no face was found, counted per source and group of people: a
            detector that misses some people more often than others is unfair before any classifier answers. A value
            with no face at all has a slice with `n` 0.
        min_samples: a slice with fewer is marked `small`.
    """
    columns: list[SliceColumn] = []
    slices: list[Slice] = []
    for column, values in _cuts(faces, missed):
        columns.append(column)
        of_people = column.kind != "condition"
        lost = Counter(_named(missed[column.column]).dropna()) if of_people else Counter()
        for value in sorted({*values.dropna(), *lost}, key=_natural_order if of_people else _condition_order):
            no_face = lost[value] if of_people else None
            inside = (values == value).to_numpy()
            slices.append(_slice(test, whole, column, str(value), inside, no_face=no_face, min_samples=min_samples))
    return tuple(columns), tuple(slices)


def worst_slices(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """Return the WORST slices with enough samples whose accuracy lies furthest below the whole."""
    gaps = {i: each.accuracy_minus_whole.value or 0.0 for i, each in enumerate(slices) if not each.small}
    behind = sorted((i for i, gap in gaps.items() if gap < 0), key=gaps.__getitem__)
    return tuple(slices[i] for i in behind[:WORST])


def _cuts(faces: pd.DataFrame, missed: pd.DataFrame) -> Iterator[tuple[SliceColumn, pd.Series[Any]]]:
    """Yield each column with the value per face, or NaN; a column with one value is no cut."""
    for name in ["source", *sorted(column for column in faces.columns if column.startswith("group_"))]:
        values = _named(faces[name])
        if values.nunique() > 1 or set(_named(missed[name]).dropna()) - set(values):
            yield _column(name, values), values
    for name in CONDITIONS:
        if name not in faces.columns:
            continue
        numbers = faces[name].astype("float64").abs()  # only yaw_degrees has a sign
        bounds = sorted(set(numbers.quantile([1 / 3, 2 / 3]).dropna().tolist()))
        if numbers.nunique() > 1 and bounds:
            yield _column(name, numbers, bounds), _thirds(numbers, bounds)


def _column(name: str, values: pd.Series[Any], bounds: list[float] | None = None) -> SliceColumn:
    return SliceColumn(
        column=name,
        kind="condition" if bounds else "source" if name == "source" else "people",
        n=int(values.notna().sum()),
        missing=int(values.isna().sum()),
        bounds=tuple(bounds) if bounds else None,
    )


def _named(values: pd.Series[Any]) -> pd.Series[Any]:
    return values.map(str, na_action="ignore")


def _thirds(values: pd.Series[float], bounds: list[float]) -> pd.Series[Any]:
    shown = [f"{bound:.3g}" if bound < 1000 else f"{bound:.0f}" for bound in bounds]
    names = [
        f"below {shown[0]}",
        *(f"{a} to {b}" for a, b in itertools.pairwise(shown)),
        f"{shown[-1]} and up",
    ]
    codes = np.searchsorted(bounds, values.to_numpy(), side="right")
    named = pd.Series(np.array(names, dtype=object)[codes], index=values.index)
    return named.where(values.notna())


def _slice(
    test: TestSet,
    whole: Performance,
    column: SliceColumn,
    value: str,
    inside: np.typing.NDArray[np.bool_],
    *,
    no_face: int | None,
    min_samples: int,
) -> Slice:
    n = int(inside.sum())
    clusters = test.resampler.clusters_in(test.rows[inside])
    accuracy = macro_f1 = gap = _UNSEEN
    if n:
        counts = test.confusion(whole.predicted, inside=inside)
        minus = metrics.accuracy(counts) - metrics.accuracy(whole.counts)
        accuracy = test.resampler.interval(metrics.accuracy(counts), clusters=clusters)
        macro_f1 = test.resampler.interval(metrics.macro_f1(counts), clusters=clusters)
        gap = test.resampler.interval(minus, clusters=clusters, share=False)
    return Slice(
        column=column.column,
        kind=column.kind,
        value=value,
        n=n,
        n_no_face=no_face,
        clusters=clusters,
        accuracy=accuracy,
        macro_f1=macro_f1,
        accuracy_minus_whole=gap,
        small=n < min_samples,
    )


def _condition_order(name: str) -> float:
    """Sort "below 3", "3 to 9", "9 and up" by where they start."""
    return -np.inf if name.startswith("below") else float(name.split(maxsplit=1)[0])


def _natural_order(name: str) -> list[str | int]:
    """Sort "type 2" before "type 10"."""
    return [int(chunk) if chunk.isdigit() else chunk for chunk in re.split(r"(\d+)", name)]
