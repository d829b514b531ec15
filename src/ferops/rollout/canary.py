"""A canary: which clients it answers, and whether it does worse than the champion."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from ferops.config import Canary
from ferops.monitoring.traffic import keyed_hash
from ferops.records.rollout import Reason

KEPT = 2000
"""Images of each version that the guards look back on."""


def is_taken(key: bytes, tag: str, client: str, *, share: float) -> bool:
    """Whether the canary `tag` answers this client: `share` of all clients, always the same ones.

    Another canary takes others. A share that grows keeps those that it has.
    """
    place = int(keyed_hash(key, f"{tag}\0{client}")[:8], 16) / 2**32  # without the key nobody can choose it
    return place < share


@dataclass
class Figures:
    """What is kept of a version's last answers.

    Attributes:
        work_s: seconds of work for each megapixel of an image, as the queue counts them: sizes differ among clients.
        confidence: of the preferred face.
        images: answered in all.
    """

    work_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    confidence: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    images: int = 0

    def note(self, *, work_s: float, confidence: float | None) -> None:
        """Note an answer; `confidence` is None where no face was found."""
        self.images += 1
        self.work_s.append(work_s)
        if confidence is not None:
            self.confidence.append(confidence)


class Trial:
    """A canary beside a champion."""

    def __init__(self) -> None:
        self.champion, self.canary = Figures(), Figures()
        self.errors = 0

    def verdict(self, rules: Canary) -> tuple[Reason, str] | None:
        """Return why the canary must end, for programs and for people; None while it may go on.

        Errors are compared with what `min_images` images may have, and so can end it at once: the preset's rules do at
        the third. The other guards wait until both versions have answered `min_images` images, and the one on
        confidence for as many faces.
        """
        asked = self.canary.images + self.errors
        if self.errors > rules.max_error_share * max(asked, rules.min_images):
            return "errors", (
                f"it failed to answer {self.errors} of {asked} images; canary.max_error_share is "
                f"{rules.max_error_share:g}"
            )
        if enough(self.champion.work_s, self.canary.work_s, least=rules.min_images):
            mine, theirs = percentile(self.canary.work_s, 0.95), percentile(self.champion.work_s, 0.95)
            if mine > rules.max_latency_ratio * theirs:
                return "latency", (
                    f"its 95th percentile of work is {1e3 * mine:.1f} ms a megapixel, {mine / theirs:.2f} times the "
                    f"champion's {1e3 * theirs:.1f} ms; canary.max_latency_ratio is {rules.max_latency_ratio:g}"
                )
        if enough(self.champion.confidence, self.canary.confidence, least=rules.min_images):
            mine, theirs = mean(self.canary.confidence), mean(self.champion.confidence)
            if theirs - mine > rules.max_confidence_drop:
                return "confidence", (
                    f"its mean confidence is {mine:.3f}, the champion's {theirs:.3f}; canary.max_confidence_drop is "
                    f"{rules.max_confidence_drop:g}"
                )
        return None


def enough(*figures: deque[float], least: int) -> bool:
    """Whether there are so many of each, or as many as are kept."""
    return all(len(each) >= min(least, KEPT) for each in figures)


def mean(values: deque[float]) -> float:
    return math.fsum(values) / len(values)


def percentile(values: deque[float], share: float) -> float:
    """Return the smallest value that at least `share` of `values` do not exceed (nearest rank)."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
