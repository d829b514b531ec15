"""What the intervals say, in words."""

from __future__ import annotations

from typing import Any

from ferops.evaluation.bootstrap import Interval


def verdict(metrics: dict[str, Any]) -> dict[str, str]:
    """Return {"headline": a sentence, "standing": better, same or worse than the champion (without one, baseline)}."""
    rivals = [("the baseline", metrics["candidate_minus_baseline"])]
    if metrics["champion"] is not None:
        rivals.insert(0, (f"champion version {metrics['champion']['version']}", metrics["candidate_minus_champion"]))
    phrases = [f"{_phrase(minus['accuracy'])} {name}" for name, minus in rivals]
    standing = compare(rivals[0][1]["accuracy"])
    if compare(metrics["candidate_minus_chance"]["accuracy"]) != "better":
        return {"headline": "The candidate is no better than chance.", "standing": "worse"}
    return {"headline": f"The candidate is {' and '.join(phrases)}.", "standing": standing}


def compare(difference: Interval) -> str:
    """Return better, worse, or same: the interval lies above 0, below 0, or holds it (or is unknown)."""
    if difference["low"] is not None and difference["low"] > 0:
        return "better"
    if difference["high"] is not None and difference["high"] < 0:
        return "worse"
    return "same"


def _phrase(difference: Interval) -> str:
    words = {"better": "more accurate than", "worse": "less accurate than", "same": "not distinguishable from"}
    return words[compare(difference)]
