from __future__ import annotations

import numpy as np
import pytest

from ferops.classes import KNOWN_LABELS
from ferops.datasets.synthetic import identity, shape
from ferops.datasets.synthetic.action_units import ACTION_UNITS, EMFACS, sample


def test_combinations_are_those_of_emfacs() -> None:
    assert {name: (set(p.core), set(p.optional)) for name, p in EMFACS.items()} == {
        "anger": ({4, 5, 7, 23}, {24}),
        "disgust": ({9, 15, 16}, {10}),
        "fear": ({1, 2, 4, 5, 7, 20, 26}, set()),
        "happy": ({6, 12}, {25}),
        "sad": ({1, 4, 15}, {17}),
        "surprised": ({1, 2, 5, 26}, {27}),
        "neutral": (set(), set()),
        "contempt": ({12, 14}, set()),
    }
    assert set(EMFACS) == set(KNOWN_LABELS)
    assert set().union(*[{*p.core, *p.optional} for p in EMFACS.values()]) <= set(ACTION_UNITS)


@pytest.mark.parametrize("name", KNOWN_LABELS)
def test_samples_hold_the_core_and_at_most_a_trace_of_others(name: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        units = sample(name, intensity=0.8, rng=rng)
        assert set(EMFACS[name].core) <= set(units)
        strangers = set(units) - set(EMFACS[name].core) - set(EMFACS[name].optional)
        assert len(strangers) <= 1
        assert all(units[unit] <= 0.15 for unit in strangers)
        assert all(0 <= value <= 1 for value in units.values())


def test_stronger_expressions_move_more() -> None:
    def total(intensity: float) -> float:
        rng = np.random.default_rng(1)
        return float(np.mean([sum(sample("fear", intensity=intensity, rng=rng).values()) for _ in range(30)]))

    assert total(0.4) < total(0.7) < total(1.0)


def face(units: dict[int, float]) -> shape.Face:
    return shape.build(identity.draw(0, seed=1), units)


def test_units_move_what_facs_says_they_move() -> None:
    rest = face({})
    assert face({1: 1.0}).brows[0].ys[0] > rest.brows[0].ys[0]  # inner end up
    assert face({1: 1.0}).brows[0].ys[3] <= rest.brows[0].ys[3]
    assert face({2: 1.0}).brows[1].ys[3] > rest.brows[1].ys[3]  # outer end up
    assert face({4: 1.0}).brows[0].ys[0] < rest.brows[0].ys[0]
    assert face({4: 1.0}).brows[0].xs[0] < rest.brows[0].xs[0]  # and together
    assert face({5: 1.0}).eyes[0].up > rest.eyes[0].up
    assert face({7: 1.0}).eyes[0].low < rest.eyes[0].low
    assert face({6: 1.0}).folds.cheek[0] > rest.folds.cheek[0]
    assert face({9: 1.0}).folds.nose_wrinkle > rest.folds.nose_wrinkle
    assert face({12: 1.0}).mouth.corner[0] > rest.mouth.corner[0]
    assert face({14: 1.0}).folds.dimple[0] > rest.folds.dimple[0]
    assert face({15: 1.0}).mouth.corner[0] < rest.mouth.corner[0]
    assert face({16: 1.0}).mouth.lower_open > rest.mouth.lower_open
    assert face({17: 1.0}).folds.chin > rest.folds.chin
    assert face({20: 1.0}).mouth.half_width > rest.mouth.half_width
    assert face({23: 1.0}).mouth.upper_lip < rest.mouth.upper_lip
    assert face({24: 1.0}).mouth.lower_lip < rest.mouth.lower_lip
    assert face({26: 1.0}).jaw_drop < face({26: 1.0, 27: 1.0}).jaw_drop
    assert face({10: 1.0}).mouth.upper_open > rest.mouth.upper_open
    assert face({25: 1.0}).mouth.lower_open > rest.mouth.lower_open


def test_faces_are_a_little_asymmetric() -> None:
    who = identity.draw(0, seed=1)
    assert who.asymmetry[0] != who.asymmetry[1]
    smile = shape.build(who, {12: 1.0}).mouth
    assert smile.corner[0] != smile.corner[1]
