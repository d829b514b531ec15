"""How much two samples differ, and whether that is large.

Two questions are asked. Is the difference more than chance? A chi-square test for shares and a Kolmogorov-Smirnov test
for numbers answer that, adjusted for their number (Benjamini and Hochberg, JRSS B 1995). Is it large? With thousands of
images everything is more than chance, so the size of the effect decides: the population stability index for shares
(Siddiqi, Credit Risk Scorecards, 2006), the Kolmogorov-Smirnov distance for numbers. An index of 0.01 and 0.10 is about
a small and a medium effect in Cohen's words (w of 0.1 and 0.3, Statistical Power Analysis, 1988; the square of w is
nearly the index); a fourth of all rows shrinking to a seventh gives 0.08. A distance of 0.1 and 0.2 is the middle of a
bell curve moved by a quarter and by half of its standard deviation. Versions share most of their rows, which makes the
p-values too large: another reason to read the effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.classes import KNOWN_LABELS
from ferops.records.drift import Histogram, NumberShift, Quantiles, ShareShift, Size

ALPHA = 0.05
PSI_SMALL, PSI_LARGE = 0.01, 0.10
KS_SMALL, KS_LARGE = 0.10, 0.20
HISTOGRAM_BINS = 24
UNTESTED: dict[str, Any] = {"q": 1.0, "word": "no"}
"""What `adjusted` fills in."""


def shift_of_shares(before: pd.Series, after: pd.Series, *, source: str, quantity: str = "class") -> ShareShift:
    """Compare the shares of labels (null counts as unlabelled): chi-square test, population stability index (with half
    a row where a label has none)."""
    from scipy.stats import chi2_contingency

    counts = [side.fillna("unlabelled").value_counts() for side in (before, after)]
    known = [*KNOWN_LABELS, "unlabelled"]
    others = sorted({name for side in counts for name in side.index} - set(known))
    names = [name for name in [*known, *others] if any(name in side.index for side in counts)]
    table = np.array([[side.get(name, 0) for name in names] for side in counts], dtype=np.float64)
    enough = len(names) > 1 and bool(table.sum(axis=1).all())
    test = chi2_contingency(table, correction=False) if enough else None
    floored = np.maximum(table, 0.5)
    shares = floored / np.maximum(floored.sum(axis=1, keepdims=True), 1)
    plain = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return ShareShift(
        source=source,
        quantity=quantity,
        n=(len(before), len(after)),
        statistic=float(test.statistic) if test else 0.0,
        p=float(test.pvalue) if test else 1.0,
        effect=float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()) if enough else 0.0,
        before=dict(zip(names, plain[0].round(4).tolist(), strict=True)),
        after=dict(zip(names, plain[1].round(4).tolist(), strict=True)),
        **UNTESTED,
    )


def shift_of_numbers(before: pd.Series, after: pd.Series, *, source: str, quantity: str) -> NumberShift:
    """Compare two samples (null is left out): two-sample Kolmogorov-Smirnov test, whose statistic (0-1) is the effect,
    too."""
    from scipy.stats import ks_2samp

    sides: list[NDArray[np.float64]] = [side.dropna().to_numpy(dtype=np.float64) for side in (before, after)]
    sizes = [len(side) for side in sides]
    # Of one number each nothing can be said, and SciPy divides by zero
    test = ks_2samp(*sides, method="asymp") if min(sizes) > 0 and sum(sizes) > 2 else None
    both = np.concatenate(sides) if min(sizes) > 0 else np.zeros(1)
    start, stop = float(both.min()), float(both.max() if np.ptp(both) > 0 else both.min() + 1)
    bins = np.linspace(start, stop, HISTOGRAM_BINS + 1)
    shares = [(np.histogram(side, bins)[0] / max(len(side), 1)).round(4).tolist() for side in sides]
    quantiles = [_quantiles(side) for side in sides]
    effect = float(test.statistic) if test else 0.0
    return NumberShift(
        source=source,
        quantity=quantity,
        n=(sizes[0], sizes[1]),
        statistic=effect,
        p=float(test.pvalue) if test else 1.0,
        effect=effect,
        before=quantiles[0],
        after=quantiles[1],
        histogram=Histogram(start=start, stop=stop, before=shares[0], after=shares[1]),
        **UNTESTED,
    )


def _quantiles(values: NDArray[np.float64]) -> Quantiles | None:
    if len(values) == 0:
        return None
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9]).round(2).tolist()
    return Quantiles(low=low, median=median, high=high)


def adjusted(shifts: Sequence[ShareShift | NumberShift]) -> tuple[ShareShift | NumberShift, ...]:
    """Return `shifts` with q (p adjusted for the number of tests) and the word that q and the effect come to."""
    from scipy.stats import false_discovery_control

    q_values = false_discovery_control([shift.p for shift in shifts], method="bh")
    return tuple(
        shift.model_copy(update={"q": float(q), "word": size_in_words(shift.kind, shift.effect, float(q))})
        for shift, q in zip(shifts, q_values, strict=True)
    )


def size_in_words(kind: str, effect: float, q: float) -> Size:
    """Return no, small or large. What may be chance (q of ALPHA or more) is no shift, whatever its size."""
    small, large = (PSI_SMALL, PSI_LARGE) if kind == "shares" else (KS_SMALL, KS_LARGE)
    if q >= ALPHA or effect < small:
        return "no"
    return "large" if effect >= large else "small"
