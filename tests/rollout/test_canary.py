"""Which clients a canary gets, and what ends it."""

from __future__ import annotations

import numpy as np
import pytest

from ferops.config import Canary
from ferops.rollout.canary import KEPT, Figures, Trial, is_taken

RULES = Canary(share=0.1, min_images=100, max_error_share=0.02, max_latency_ratio=1.5, max_confidence_drop=0.05)
KEY = b"k" * 32


def test_a_share_of_the_clients_is_taken_always_the_same() -> None:
    clients = [f"10.0.{number // 250}.{number % 250}" for number in range(2000)]
    few = {each for each in clients if is_taken(KEY, "ferops:v3", each, share=0.1)}
    assert 0.07 < len(few) / len(clients) < 0.13  # 0.1 within four standard errors
    assert few == {each for each in clients if is_taken(KEY, "ferops:v3", each, share=0.1)}
    more = {each for each in clients if is_taken(KEY, "ferops:v3", each, share=0.3)}
    assert few < more  # who is in stays in
    assert few != {each for each in clients if is_taken(KEY, "ferops:v4", each, share=0.1)}
    assert few != {each for each in clients if is_taken(b"o" * 32, "ferops:v3", each, share=0.1)}
    assert not [each for each in clients if is_taken(KEY, "ferops:v3", each, share=0.0)]


def trial(
    n: int,
    *,
    canary_s: float = 0.02,
    canary_confidence: float | None = 0.8,
    errors: int = 0,
    champions: int | None = None,
) -> Trial:
    made = Trial()
    for _ in range(n if champions is None else champions):
        made.champion.note(work_s=0.02, confidence=0.8)
    for _ in range(n):
        made.canary.note(work_s=canary_s, confidence=canary_confidence)
    made.errors = errors
    return made


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (trial(100), None),
        (trial(100, canary_s=0.031), "latency"),
        (trial(100, canary_s=0.029), None),
        (trial(99, canary_s=0.9), None),  # too few yet
        (trial(100, canary_s=0.9, champions=99), None),  # of the champion, too
        (trial(100, canary_confidence=0.74), "confidence"),
        (trial(100, canary_confidence=0.76), None),
        (trial(100, canary_confidence=0.9), None),  # surer is no fall
        (trial(100, canary_confidence=None), None),  # no face, no confidence
        (trial(0, errors=2), None),
        (trial(0, errors=3), "errors"),  # more than 100 images may have, so nobody waits for the others
        (trial(300, errors=6), None),
        (trial(300, errors=7), "errors"),
    ],
)
def test_a_guard_ends_the_canary_beyond_its_bound(found: Trial, reason: str | None) -> None:
    verdict = found.verdict(RULES)
    assert (verdict and verdict[0]) == reason
    assert verdict is None or f"canary.max_{'error_share' if reason == 'errors' else ''}" in verdict[1]


def test_the_guards_look_back_on_the_last_answers_alone() -> None:
    made = trial(KEPT, canary_confidence=0.5)
    for _ in range(KEPT):
        made.canary.note(work_s=0.02, confidence=0.8)
    assert made.verdict(RULES) is None
    assert made.canary.images == 2 * KEPT


def test_a_canary_like_the_champion_is_seldom_ended() -> None:
    """Looked at 16 times in 1,000 images, with the spread of real confidences and times, by the preset's rules."""
    draw = np.random.default_rng(7)
    rules = RULES.model_copy(update={"min_images": 200})
    ended = 0
    for _ in range(10):
        made = Trial()
        for name, n in (("champion", 2000), ("canary", 1000)):
            figures: Figures = getattr(made, name)
            for work_s, confidence in zip(draw.lognormal(-4, 0.3, n), draw.beta(4, 1.5, n), strict=True):
                figures.note(work_s=float(work_s), confidence=float(confidence))
                if name == "canary" and figures.images % 50 == 0 and made.verdict(rules) is not None:
                    ended += 1
                    break
    assert ended == 0
