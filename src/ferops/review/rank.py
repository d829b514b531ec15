"""How much a person's look at an image is worth: the sum of what speaks for it, each 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

UNSURE = 0.3
"""Between the two most likely classes: below this the model might as well have said the other one."""

Answer = Mapping[str, float]
"""A model's probabilities by class, at least two; they sum to 1."""


class Reason(NamedTuple):
    """What speaks for asking: how much (0-1), which kind of reason, and in words."""

    worth: float
    kind: str
    words: str


def reasons(
    label: str | None, answer: Answer, *, other: Answer | None = None, quality: float | None = None
) -> list[Reason]:
    """Return what speaks for asking a person about an image.

    Args:
        label: its present one.
        other: another model's answer.
        quality: that validation gives a label which it suspects (0-1); None where it does not.
    """
    (first, p), (second, next_p) = sorted(answer.items(), key=lambda one: -one[1])[:2]
    found = []
    if p - next_p < UNSURE:
        words = f"unsure: {first} {p:.0%}, {second} {next_p:.0%}"
        found.append(Reason(1 - (p - next_p), "the model is unsure", words))
    if label is not None and label in answer and label != first:
        words = f"labelled {label} ({answer[label]:.0%}), the model says {first} ({p:.0%})"
        found.append(Reason(1 - answer[label], "the model says something else than the label", words))
    if other is not None and (apart := _apart(answer, other)) is not None:
        found.append(apart)
    if quality is not None:
        found.append(Reason(1 - quality, "ferops validate suspects the label", "validation suspects the label"))
    return found


def _apart(one: Answer, other: Answer) -> Reason | None:
    """Return how far apart two answers are, by total variation over the classes that both have; None if they agree."""
    shared = one.keys() & other.keys()
    if len(shared) < 2:
        return None
    first, second = _within(one, shared), _within(other, shared)
    says, says_too = max(first, key=first.__getitem__), max(second, key=second.__getitem__)
    if says == says_too:
        return None
    worth = sum(abs(first[name] - second[name]) for name in shared) / 2
    return Reason(worth, "two models differ", f"two models differ: {says}, {says_too}")


def _within(answer: Answer, classes: set[str]) -> dict[str, float]:
    total = sum(answer[name] for name in classes) or 1.0
    return {name: answer[name] / total for name in sorted(classes)}
