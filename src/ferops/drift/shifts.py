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

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.classes import KNOWN_LABELS

ALPHA = 0.05
PSI_SMALL, PSI_LARGE = 0.01, 0.10
KS_SMALL, KS_LARGE = 0.10, 0.20
HISTOGRAM_BINS = 24


def shift_of_shares(before: pd.Series, after: pd.Series) -> dict[str, Any]:
    """Compare the shares of labels (null counts as unlabelled): chi-square test, population stability index.

    Returns kind, n (rows of both), statistic (chi-square), p, effect (the index, with half a row where a label has
    none) and before and after (label -> share).
    """
    from scipy.stats import chi2_contingency

    counts = [side.fillna("unlabelled").value_counts() for side in (before, after)]
    names = [name for name in (*KNOWN_LABELS, "unlabelled") if any(name in side.index for side in counts)]
    table = np.array([[side.get(name, 0) for name in names] for side in counts], dtype=np.float64)
    enough = len(names) > 1 and bool(table.sum(axis=1).all())
    test = chi2_contingency(table, correction=False) if enough else None
    floored = np.maximum(table, 0.5)
    shares = floored / np.maximum(floored.sum(axis=1, keepdims=True), 1)
    plain = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return {
        "kind": "shares",
        "n": [len(before), len(after)],
        "statistic": float(test.statistic) if test else 0.0,
        "p": float(test.pvalue) if test else 1.0,
        "effect": float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()) if enough else 0.0,
        "before": dict(zip(names, plain[0].round(4).tolist(), strict=True)),
        "after": dict(zip(names, plain[1].round(4).tolist(), strict=True)),
    }


def shift_of_numbers(before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, Any]:
    """Compare two samples: two-sample Kolmogorov-Smirnov test, whose statistic (0-1) is the effect, too.

    Returns kind, n (of both), statistic, p, effect, before and after (quantiles low 0.1, median 0.5, high 0.9) and
    histogram (start, stop, before, after: shares of equal bins). Without numbers on a side the quantiles are None.
    """
    from scipy.stats import ks_2samp

    enough = len(before) > 0 and len(after) > 0
    # Of one number each nothing can be said, and SciPy divides by zero
    test = ks_2samp(before, after, method="asymp") if enough and len(before) + len(after) > 2 else None
    sides = {"before": before, "after": after}
    both = np.concatenate([before, after]) if enough else np.zeros(1)
    start, stop = float(both.min()), float(max(both.max(), both.min() + 1))
    bins = np.linspace(start, stop, HISTOGRAM_BINS + 1)
    return {
        "kind": "numbers",
        "n": [len(before), len(after)],
        "statistic": float(test.statistic) if test else 0.0,
        "p": float(test.pvalue) if test else 1.0,
        "effect": float(test.statistic) if test else 0.0,
        **{name: _quantiles(values) for name, values in sides.items()},
        "histogram": {"start": start, "stop": stop}
        | {name: _shares_of_bins(values, bins) for name, values in sides.items()},
    }


def _quantiles(values: NDArray[np.float64]) -> dict[str, float] | None:
    if len(values) == 0:
        return None
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9]).round(2).tolist()
    return {"low": low, "median": median, "high": high}


def _shares_of_bins(values: NDArray[np.float64], bins: NDArray[np.float64]) -> list[float]:
    shares: list[float] = (np.histogram(values, bins)[0] / max(len(values), 1)).round(4).tolist()
    return shares


def adjusted(shifts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return `shifts` with q (p adjusted for the number of tests) and the word that q and the effect come to."""
    from scipy.stats import false_discovery_control

    q_values = false_discovery_control([shift["p"] for shift in shifts], method="bh")
    return [
        shift | {"q": float(q), "word": word(shift["kind"], shift["effect"], float(q))}
        for shift, q in zip(shifts, q_values, strict=True)
    ]


def word(kind: str, effect: float, q: float) -> str:
    """Return no, small or large. What may be chance (q of ALPHA or more) is no shift, whatever its size."""
    small, large = (PSI_SMALL, PSI_LARGE) if kind == "shares" else (KS_SMALL, KS_LARGE)
    if q >= ALPHA or effect < small:
        return "no"
    return "large" if effect >= large else "small"
