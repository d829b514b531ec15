"""The answers to faces that get worse, and the figures of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferops.evaluation.bootstrap import Floats, Resampler
from ferops.evaluation.metrics import ratio
from ferops.records.metrics import Interval
from ferops.records.robustness import Curve
from ferops.robustness.conditions import worsened
from ferops.robustness.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from ferops.robustness.sample import Rows, chunks

Answer = Callable[[NDArray[np.uint8]], NDArray[np.intp]]
"""From faces `(N, S, S, 3)` to the classes that a network answers, `(N,)`."""

_CHUNK = 4  # faces whose worsened copies are in memory together

MIDDLE = SEVERITIES // 2
"""The severity at which the baseline is asked, which takes its time: it is not optimised for service."""


@dataclass(frozen=True)
class Tried:
    """Whether answers were right, 0 or 1, to N faces in C conditions.

    Attributes:
        rows: `(N,)` of the test faces.
        clean, worse: the candidate's, `(N,)` on the faces as they are, `(N, C, SEVERITIES)` in the conditions.
        baseline_clean, baseline_worse: the baseline's, `(N,)`, and `(N, C)` at the severity MIDDLE.
    """

    names: tuple[str, ...]
    rows: Rows
    clean: Floats
    worse: Floats
    baseline_clean: Floats
    baseline_worse: Floats


def attempt(
    faces: NDArray[np.uint8],
    labels: NDArray[np.intp],
    rows: Rows,
    how: Mapping[str, Corruption],
    *,
    candidate: Answer,
    baseline: Answer,
    seed: int,
    seconds: float,
) -> Tried:
    """Ask both networks for the classes of `faces` `(F, S, S, 3)` in the conditions `how`, in the order of `rows`.

    The noise of a face in a condition is the same at all severities, and in every run.
    """
    found: list[tuple[Rows, ...]] = []
    for chunk in chunks(rows, _CHUNK, seconds=seconds):
        pixels, truth = np.ascontiguousarray(faces[chunk]), labels[chunk]
        copies = np.stack([_copies(face, how, [seed, int(row)]) for row, face in zip(chunk, pixels, strict=True)])
        n, conditions, size_px = len(chunk), len(how), pixels.shape[1]
        answers, middle = candidate(_flat(copies, size_px)), baseline(_flat(copies[:, :, MIDDLE], size_px))
        found.append(
            (
                chunk,
                candidate(pixels) == truth,
                answers.reshape(n, conditions, SEVERITIES) == truth[:, None, None],
                baseline(pixels) == truth,
                middle.reshape(n, conditions) == truth[:, None],
            )
        )
    done, *right = (np.concatenate(each) for each in zip(*found, strict=True))
    return Tried(tuple(how), done, *(each.astype(np.float64) for each in right))


def _copies(face: NDArray[np.uint8], how: Mapping[str, Corruption], seed: list[int]) -> NDArray[np.uint8]:
    """Return `(C, SEVERITIES, S, S, 3)`."""
    return np.stack(
        [
            [worsened(face, change, severity, np.random.default_rng([*seed, number])) for severity in range(SEVERITIES)]
            for number, change in enumerate(how.values())
        ]
    )


def _flat(copies: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(copies).reshape(-1, size_px, size_px, 3)


@dataclass(frozen=True)
class Figures:
    """Of all curves: see `ferops.records.robustness.RobustnessSummary`."""

    clean: Interval
    baseline_clean: float
    corrupted: Interval
    loss: Interval
    met: Interval
    mean_corruption_error: Interval
    relative_mean_corruption_error: Interval
    curves: tuple[Curve, ...]


def figures(tried: Tried, resampler: Resampler) -> Figures:
    """Return the figures; `resampler` draws the N faces' clusters."""
    n, conditions, _ = tried.worse.shape
    every = [tried.clean[:, None], tried.baseline_clean[:, None], tried.worse.reshape(n, -1), tried.baseline_worse]
    totals = resampler.totals(np.concatenate([np.ones((n, 1)), *every], axis=1), np.arange(n))
    shares = totals[:, 1:] / totals[:, :1]
    clean, baseline_clean = shares[:, 0], shares[:, 1]  # (1 + B,)
    worse = shares[:, 2:-conditions].reshape(-1, conditions, SEVERITIES)
    baseline = shares[:, -conditions:]  # (1 + B, C)
    mean = worse.mean(axis=2)
    is_corruption = np.array([name in CORRUPTIONS for name in tried.names])
    clusters = resampler.clusters_in(np.arange(n))

    def interval(values: Floats, *, share: bool = True, reason: str = "nothing to measure") -> Interval:
        return resampler.interval(values, clusters=clusters, share=share, reason=reason)

    faultless = "the baseline makes no mistake"
    error = ratio(1 - worse[:, :, MIDDLE], 1 - baseline)
    relative = ratio(clean[:, None] - worse[:, :, MIDDLE], baseline_clean[:, None] - baseline)
    corrupted = mean[:, is_corruption].mean(axis=1)
    return Figures(
        clean=interval(clean),
        baseline_clean=float(baseline_clean[0]),
        corrupted=interval(corrupted),
        loss=interval(clean - corrupted, share=False),
        met=interval(mean[:, ~is_corruption].mean(axis=1)),
        mean_corruption_error=interval(error[:, is_corruption].mean(axis=1), share=False, reason=faultless),
        relative_mean_corruption_error=interval(
            relative[:, is_corruption].mean(axis=1),
            share=False,
            reason="there is a corruption by which the baseline loses nothing",
        ),
        curves=tuple(
            Curve(
                name=name,
                kind="corruption" if is_corruption[number] else "face",
                accuracy=tuple(interval(worse[:, number, severity]) for severity in range(SEVERITIES)),
                mean=interval(mean[:, number]),
                loss=interval(clean - mean[:, number], share=False),
                baseline=float(baseline[0, number]),
                error_to_baseline=interval(error[:, number], share=False, reason=faultless),
            )
            for number, name in enumerate(tried.names)
        ),
    )


def worst(curves: tuple[Curve, ...], *, most: int = 3) -> tuple[Curve, ...]:
    """Return the curves with the largest loss, the largest first."""
    return tuple(sorted(curves, key=lambda curve: -(curve.loss.value or 0.0))[:most])
