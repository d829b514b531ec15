"""The same face with one thing changed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferops.datasets.synthetic import identity, portrait
from ferops.fairness.pairs import CHANGES, CONTROL, changes


def test_each_change_changes_that_alone() -> None:
    who = identity.draw(0, seed=1)
    for name, (_, change) in CHANGES.items():
        other = change(who)
        assert getattr(other, name) != getattr(who, name)
        for kept in {"skin_tone", "age", "glasses"} - {name}:
            assert getattr(other, kept) == getattr(who, kept)
        assert (other.jaw, other.hair_style, other.texture_seed) == (who.jaw, who.hair_style, who.texture_seed)
        assert np.array_equal(other.skin, who.skin) == (name != "skin_tone")


def test_glasses_change_pixels_of_the_face_alone() -> None:
    who = identity.draw(0, seed=1)
    one, two = (portrait.take(person, "happy", seed=(1, 2), size_px=96) for person in (who, CHANGES["glasses"][1](who)))
    assert one.pose == two.pose
    assert np.array_equal(one.landmarks, two.landmarks)
    differ = np.abs(one.pixels.astype(int) - two.pixels).max(axis=2) > 24
    eyes = one.landmarks[:2].mean(axis=0)
    rows, columns = np.nonzero(differ)
    assert len(rows) > 20
    assert np.hypot(rows - eyes[1], columns - eyes[0]).max() < 48


def test_the_share_of_pairs_with_another_answer() -> None:
    after = {"skin_tone": ["happy", "sad", "no face", "happy"], "age": ["happy"] * 4, "glasses": ["sad"] * 4}
    rows = [
        {"person": f"s{i}", "expression": "happy", "change": name, "before": "happy", "after": answer}
        for name, answers in (after | {CONTROL: ["happy"] * 4}).items()
        for i, answer in enumerate(answers)
    ]
    found = {each.name: each for each in changes(pd.DataFrame(rows), samples=200, level=0.95, seed=1)}
    assert {name: each.changed.value for name, each in found.items()} == pytest.approx(
        {"skin_tone": 0.5, "age": 0.0, "glasses": 1.0, CONTROL: 0.0}
    )
    assert all((each.pairs, each.people) == (4, 4) for each in found.values())
    nothing = pd.DataFrame(columns=["person", "expression", "change", "before", "after"])
    assert changes(nothing, samples=200, level=0.95, seed=1)[0].changed.value is None
