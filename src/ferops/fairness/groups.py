"""Groups of people and their crossings on the test images, end to end: rates, differences and gaps.

The slices of `evaluate` have the accuracy of each group on packed faces. Here a face that is not found counts, each
group is compared with all others, and the comparisons are corrected for their number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.evaluation.bootstrap import Floats, Resampler
from ferops.evaluation.metrics import one_hot, ratio
from ferops.records.fairness import AttributeGaps, Group
from ferops.records.metrics import Interval

PREFIX = "group_"
MIN_PER_CLASS = 10
"""Images of a class in a group from which its rates count in equalised odds: one of fewer moves a rate by over 10 %."""

LEVEL = 0.05
"""A corrected p below this is beyond chance."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Answered:
    """N test images as the service answers them.

    Attributes:
        images: their rows of faces.parquet.
        labels, answers: `(N,)` indices of `classes`; an answer of -1 is none, or that for another face.
        found: `(N,)` whether there is a face.
    """

    classes: tuple[str, ...]
    images: pd.DataFrame
    labels: NDArray[np.intp]
    answers: NDArray[np.intp]
    found: Flags
    resampler: Resampler

    @property
    def attributes(self) -> list[str]:
        """The columns by which people differ."""
        names = sorted(name for name in self.images.columns if name.startswith(PREFIX))
        return [name for name in names if self.images[name].nunique() > 1]

    @property
    def without_annotations(self) -> tuple[str, ...]:
        """The sources of which no image says who is shown."""
        known = self.images.filter(like=PREFIX).notna().any(axis=1)
        return tuple(sorted(set(self.images["source"]) - set(self.images.loc[known, "source"])))


@dataclass(frozen=True)
class Compared:
    """See `ferops.records.fairness.FairnessSummary`."""

    attributes: tuple[AttributeGaps, ...]
    groups: tuple[Group, ...]
    crossings: tuple[Group, ...]
    small_crossings: int


def compare(answered: Answered, *, min_images: int) -> Compared:
    """Compare every group of at least `min_images` images with all others whose attributes are known."""
    names = answered.attributes
    single = [pair for name in names for pair in _cuts(answered, (name,))]
    crossed = [pair for names in itertools.combinations(names, 2) for pair in _cuts(answered, names)]
    kept = [
        [_Drawn(answered, *each) for each in cuts if each[2].sum() >= min_images and (each[3] & ~each[2]).any()]
        for cuts in (single, crossed)
    ]
    every = [*kept[0], *kept[1]]
    p = _corrected([p for one in every for p in one.p_values])
    records = [one.record(p[2 * place], p[2 * place + 1]) for place, one in enumerate(every)]
    return Compared(
        attributes=tuple(_gaps(answered, name, min_images=min_images) for name in names),
        groups=tuple(records[: len(kept[0])]),
        crossings=tuple(records[len(kept[0]) :]),
        small_crossings=sum(int(each[2].sum()) < min_images for each in crossed),
    )


def is_behind(group: Group) -> bool:
    """Return whether faces of the group are found less often, or answered worse, beyond chance."""
    return any(
        p < LEVEL and (minus.value or 0.0) < 0
        for p, minus in ((group.found_p, group.found_minus_rest), (group.accuracy_p, group.accuracy_minus_rest))
    )


def _cuts(
    answered: Answered, names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], Flags, Flags]]:
    """Yield columns, values, which images are in the group, and which have a value at all."""
    values = answered.images[list(names)]
    known = values.notna().all(axis=1).to_numpy()
    for key, rows in values[known].groupby(list(names), sort=True):
        inside = answered.images.index.isin(rows.index)
        yield names, tuple(str(value) for value in key), inside, known


class _Drawn:
    """A group with its rates on the sample and on every resample, `(1 + B,)`."""

    def __init__(
        self, answered: Answered, names: tuple[str, ...], values: tuple[str, ...], inside: Flags, known: Flags
    ) -> None:
        self.names, self.values, self.inside, self.draws = names, values, inside, answered.resampler
        right = answered.answers == answered.labels
        outcomes = np.stack([answered.found, right, np.ones(len(right))], axis=1).astype(np.float64)
        mine, rest = (self.draws.totals(outcomes[rows], np.flatnonzero(rows)) for rows in (inside, known & ~inside))
        self.rates = ratio(mine[:, :2], np.repeat(mine[:, 2:], 2, axis=1))  # found, right
        self.minus = self.rates - ratio(rest[:, :2], np.repeat(rest[:, 2:], 2, axis=1))
        self.clusters = self.draws.clusters_in(np.flatnonzero(inside))

    @property
    def p_values(self) -> list[float]:
        return [_p_value(self.minus[:, outcome], self.clusters) for outcome in range(2)]

    def record(self, found_p: float, accuracy_p: float) -> Group:
        found, accuracy = (self.draws.interval(each, clusters=self.clusters) for each in self.rates.T)
        minus = [self.draws.interval(each, clusters=self.clusters, share=False) for each in self.minus.T]
        return Group(
            attributes=tuple(plain(name) for name in self.names),
            values=self.values,
            n=int(self.inside.sum()),
            clusters=self.clusters,
            found=found,
            accuracy=accuracy,
            found_minus_rest=minus[0],
            accuracy_minus_rest=minus[1],
            found_p=found_p,
            accuracy_p=accuracy_p,
        )


def plain(column: str) -> str:
    """Return "skin tone" for group_skin_tone."""
    return column.removeprefix(PREFIX).replace("_", " ")


def _p_value(differences: Floats, clusters: int) -> float:
    """Return the two-sided p of a difference, by the spread of its resamples and Student's t."""
    from scipy import stats

    value, spread = float(differences[0]), float(np.nanstd(differences[1:]))
    if clusters < 2 or not math.isfinite(value) or spread == 0:
        return 1.0
    return float(2 * stats.t.sf(abs(value) / spread, df=clusters - 1))


def _corrected(p_values: Sequence[float]) -> list[float]:
    from scipy.stats import false_discovery_control

    return [float(p) for p in false_discovery_control(p_values)] if p_values else []


def _gaps(answered: Answered, name: str, *, min_images: int) -> AttributeGaps:
    cuts = list(_cuts(answered, (name,)))
    large = [inside for _, _, inside, _ in cuts if inside.sum() >= min_images]
    draws = answered.resampler
    clusters = draws.clusters_in(np.flatnonzero(np.logical_or.reduce(large))) if large else 0
    few = "fewer than two groups have enough images"
    counts = [_counts(answered, inside) for inside in large]

    def gap(rates: list[Floats]) -> Floats:
        both = np.stack(rates)
        return np.asarray(both.max(axis=0) - both.min(axis=0))

    def interval(values: Floats | None, reason: str = few) -> Interval:
        nothing = np.full(len(draws.weights), np.nan)
        return draws.interval(
            nothing if values is None else values, clusters=clusters, share=False, correct_bias=True, reason=reason
        )

    compared = len(large) > 1
    right = [ratio(np.trace(each[:, :, :-1], axis1=1, axis2=2), each.sum(axis=(1, 2))) for each in counts]
    accuracy = gap(right) if compared else None
    found = gap([_found(answered, inside) for inside in large]) if compared else None
    return AttributeGaps(
        attribute=plain(name),
        groups=len(large),
        small=tuple(values[0] for _, values, inside, _ in cuts if inside.sum() < min_images),
        unknown=int(answered.images[name].isna().sum()),
        accuracy_gap=interval(accuracy),
        found_gap=interval(found),
        equalised_odds=interval(
            equalised_odds(counts) if compared else None,
            reason=f"no class has {MIN_PER_CLASS} images in two groups" if compared else few,
        ),
    )


def _counts(answered: Answered, inside: Flags) -> Floats:
    """Return `(1 + B, K, K + 1)`: labels by answers, the last of which is none."""
    k = len(answered.classes)
    answers = np.where(answered.answers < 0, k, answered.answers)[inside]
    features = one_hot(answered.labels[inside] * (k + 1) + answers, k * (k + 1))
    return answered.resampler.totals(features, np.flatnonzero(inside)).reshape(-1, k, k + 1)


def _found(answered: Answered, inside: Flags) -> Floats:
    outcomes = np.stack([answered.found[inside], np.ones(int(inside.sum()))], axis=1).astype(np.float64)
    hits, n = answered.resampler.totals(outcomes, np.flatnonzero(inside)).T
    return ratio(hits, n)


def equalised_odds(counts: Sequence[Floats]) -> Floats:
    """Return `(1 + B,)` from the counts `(1 + B, K, K + 1)` of each group; NaN where no class can be compared."""
    largest = np.full(len(counts[0]), np.nan)
    for index in range(counts[0].shape[1]):
        hits = [(each[:, index, index], each[:, index].sum(axis=1)) for each in counts]
        alarms = [
            (
                each[:, :, index].sum(axis=1) - each[:, index, index],
                each.sum(axis=(1, 2)) - each[:, index].sum(axis=1),
            )
            for each in counts
        ]
        for rates in (hits, alarms):
            enough = [ratio(numerator, n) for numerator, n in rates if n[0] >= MIN_PER_CLASS]
            if len(enough) > 1:
                both = np.stack(enough)
                largest = np.fmax(largest, both.max(axis=0) - both.min(axis=0))
    return largest
