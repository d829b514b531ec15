"""What the intervals say, in a sentence."""

from __future__ import annotations

from ferops.records.metrics import Difference, Metrics


def verdict(metrics: Metrics) -> str:
    """Return how the candidate does against champion, baseline and chance, as far as the paired intervals tell."""
    if _sign(metrics.candidate_minus_chance) <= 0:
        return "The candidate is no better than chance."
    phrases = [f"{_phrase(metrics.candidate_minus_baseline)} the baseline"]
    if metrics.champion and metrics.candidate_minus_champion:
        phrases.insert(0, f"{_phrase(metrics.candidate_minus_champion)} champion version {metrics.champion.version}")
    elif metrics.champion:
        phrases.append(f"cannot be compared with champion version {metrics.champion.version}")
    said = f"The candidate is {' and '.join(phrases)}."
    if metrics.crossvalidation is None:
        return said
    whole = metrics.crossvalidation
    phrase = _phrase(whole.candidate_minus_baseline)
    return f"{said} Cross-validated, on all {whole.n:,} faces, it is {phrase} the baseline."


def _phrase(minus: Difference) -> str:
    return ("not distinguishable from", "more accurate than", "less accurate than")[_sign(minus)]


def _sign(minus: Difference) -> int:
    """Return 1 or -1 where the interval of the accuracy lies above or below 0, and 0 where it holds it."""
    low, high = minus.accuracy.low, minus.accuracy.high
    return 1 if low is not None and low > 0 else -1 if high is not None and high < 0 else 0
