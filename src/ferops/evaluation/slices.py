"""The candidate's figures on parts of the test split: sources, groups of people, conditions of the image.

Point values come from fairlearn's MetricFrame. Its bootstrap is not used: it draws rows, where whole clusters must be
drawn, and calls every metric once per resample and slice; the draws of `Resampler` are the ones that the figures of
the whole test split use, so that a slice minus the whole is a paired difference.
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
from ferops.evaluation.bootstrap import Floats
from ferops.evaluation.judge import Judged, TestSet
from ferops.evaluation.metrics import K

CONDITIONS = {
    "brightness": ("Brightness", "mean grey level, 0-255"),
    "sharpness": ("Sharpness", "variance of the Laplacian at 48 px"),
    "face_px": ("Face size", "pixels"),
    "yaw_degrees": ("Head turn", "absolute yaw, degrees"),
}
"""Columns of faces.parquet that are cut in thirds: name for people, and unit."""


def slices(
    test: TestSet, judged: Judged, faces: pd.DataFrame, missed: pd.DataFrame, *, min_samples: int
) -> dict[str, Any]:
    """Return {"columns": how each column was cut, "slices": figures of each part, "worst": the largest gaps}.

    Args:
        faces: the N rows of faces.parquet that `test.labels` belong to, in that order.
        missed: the rows of the test images in which no face was found, counted per source and group of people: a
            detector that misses some people more often than others is unfair before any classifier answers. One of
            which it found no face at all has a slice with `n` 0.
        min_samples: a slice with fewer is marked `small`.
    """
    columns: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for name, kind, values, bounds in _cuts(faces, missed):
        known = values.notna().to_numpy()
        columns.append(
            {"column": name, "kind": kind, "n": int(known.sum()), "missing": int((~known).sum()), "bounds": bounds}
        )
        lost = Counter() if kind == "condition" else Counter(_named(missed[name]).dropna())
        figures = _column(test, judged, values, min_samples=min_samples)
        figures |= {value: _unseen() for value in lost if value not in figures}
        for value in sorted(figures, key=_condition_order if kind == "condition" else _natural_order):
            n_no_face = None if kind == "condition" else lost[value]
            found.append({"column": name, "kind": kind, "value": value, **figures[value], "n_no_face": n_no_face})
    return {"columns": columns, "slices": found, "worst": _worst(found)}


def _cuts(faces: pd.DataFrame, missed: pd.DataFrame) -> Iterator[tuple[str, str, pd.Series[Any], list[float] | None]]:
    """Yield (column, kind, value per face or NaN, inner bounds); a column with one value is no cut."""
    for name in ["source", *sorted(column for column in faces.columns if column.startswith("group_"))]:
        values = _named(faces[name])
        if values.nunique() > 1 or set(_named(missed[name]).dropna()) - set(values):
            yield name, "source" if name == "source" else "people", values, None
    for name in CONDITIONS:
        if name not in faces.columns:
            continue
        values = faces[name].astype("float64")
        values = values.abs() if name == "yaw_degrees" else values
        bounds = sorted(set(values.quantile([1 / 3, 2 / 3]).dropna().tolist()))
        if values.nunique() > 1 and bounds:
            yield name, "condition", _thirds(values, bounds), bounds


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


def _column(test: TestSet, judged: Judged, values: pd.Series[Any], *, min_samples: int) -> dict[str, dict[str, Any]]:
    """Return the figures of each of the column's values."""
    if values.isna().all():
        return {}
    frame = _metric_frame(test, judged, values)
    whole = metrics.accuracy(judged.counts)
    one_hot = metrics.confusion_features(test.labels, judged.predicted)
    found = {}
    for value in frame.index:
        inside = (values == value).to_numpy()
        rows = test.rows[inside]
        counts = test.resampler.totals(one_hot[inside], rows).reshape(-1, K, K)
        clusters = test.resampler.clusters_in(rows)
        accuracy = test.resampler.interval(metrics.accuracy(counts), clusters=clusters)
        macro_f1 = test.resampler.interval(metrics.macro_f1(counts), clusters=clusters)
        gap = metrics.accuracy(counts) - whole
        found[value] = {
            "n": int(frame.loc[value, "n"]),
            "clusters": clusters,
            "accuracy": accuracy | {"value": float(frame.loc[value, "accuracy"])},
            "macro_f1": macro_f1 | {"value": float(frame.loc[value, "macro_f1"])},
            "accuracy_minus_whole": test.resampler.interval(gap, clusters=clusters, share=False),
            "small": bool(frame.loc[value, "n"] < min_samples),
        }
    return found


def _unseen() -> dict[str, Any]:
    nothing = {"value": None, "low": None, "high": None, "reason": "no face was found in any of the images"}
    figures = {name: dict(nothing) for name in ("accuracy", "macro_f1", "accuracy_minus_whole")}
    return {"n": 0, "clusters": 0, **figures, "small": True}


def _metric_frame(test: TestSet, judged: Judged, values: pd.Series[Any]) -> pd.DataFrame:
    from fairlearn.metrics import MetricFrame, count

    known = values.notna().to_numpy()
    frame = MetricFrame(
        metrics={"n": count, "accuracy": _accuracy, "macro_f1": _macro_f1},
        y_true=test.labels[known],
        y_pred=judged.predicted[known],
        sensitive_features=values[known].to_numpy(dtype=object),
    )
    return pd.DataFrame(frame.by_group)


def _accuracy(y_true: Floats, y_pred: Floats) -> float:
    return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))


def _macro_f1(y_true: Floats, y_pred: Floats) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(y_true, y_pred, labels=np.unique(y_true), average="macro", zero_division=0.0))


def _condition_order(name: str) -> float:
    """Sort "below 3", "3 to 9", "9 and up" by where they start."""
    return -np.inf if name.startswith("below") else float(name.split(maxsplit=1)[0])


def _natural_order(name: str) -> list[str | int]:
    """Sort "type 2" before "type 10"."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _worst(found: list[dict[str, Any]], *, most: int = 5) -> list[dict[str, Any]]:
    """Return the slices with enough samples whose accuracy lies furthest below the whole."""
    behind = [one for one in found if not one["small"] and (one["accuracy_minus_whole"]["value"] or 0.0) < 0]
    behind.sort(key=lambda one: one["accuracy_minus_whole"]["value"])
    keep = ("column", "kind", "value", "n", "clusters", "accuracy_minus_whole")
    return [{key: one[key] for key in keep} for one in behind[:most]]
