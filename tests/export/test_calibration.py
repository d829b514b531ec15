from __future__ import annotations

import numpy as np
import pytest

from ferops.export.calibration import probabilities
from ferops.export.temperature import BOUNDS, SPREAD, best_temperature, fit_temperature


def draw(temperature: float, count: int = 20_000):
    """Labels drawn from softmax(logits / temperature): that temperature is the right one by construction."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (count, 6)).astype(np.float32)
    p = np.exp(logits / temperature)
    p /= p.sum(axis=1, keepdims=True)
    labels = (rng.random(count)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(0, 5)
    return logits, labels, np.full(count, "one")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_recovers_a_known_temperature(temperature):
    assert fit_temperature(*draw(temperature)) == pytest.approx(temperature, rel=0.04)


def test_a_few_faces_do_not_ask_for_a_temperature_by_chance():
    """Over many small splits of a calibrated model the result costs less than always taking the best temperature."""
    logits, labels, _ = draw(1.0, count=20_000)
    fresh, truth = logits[10_000:], labels[10_000:]

    def loss(temperature):
        return -np.log(probabilities(fresh, temperature)[np.arange(len(truth)), truth]).mean()

    few = [(logits[i : i + 24], labels[i : i + 24]) for i in range(0, 2400, 24)]
    found = [fit_temperature(*one, np.full(24, "one")) for one in few]
    always = [best_temperature(one.astype(float), of, np.full(24, 1 / 24)) for one, of in few]
    assert 30 < sum(each == 1.0 for each in found) < 100
    assert np.mean([loss(each) for each in found]) < np.mean([loss(each) for each in always])


def test_is_the_most_probable():
    logits, labels, sources = draw(1.7, count=300)
    best = fit_temperature(logits, labels, sources)

    def loss(temperature):
        likelihood = -np.log(probabilities(logits, temperature)[np.arange(300), labels]).sum()
        return likelihood + 0.5 * (np.log(temperature) / SPREAD) ** 2

    assert loss(best) <= min(loss(t) for t in np.linspace(0.2, 5, 97)) + 1e-4


def test_each_source_counts_alike():
    """A few faces of a second source weigh as much as the many of the first: as if there were as many."""
    many, few = draw(3.0, count=20_000), draw(1.0, count=20_000)
    counts = 20_000, 2_000
    logits, labels = (np.concatenate([many[i][: counts[0]], few[i][: counts[1]]]) for i in (0, 1))
    found = fit_temperature(logits, labels, np.repeat(["many", "few"], counts))
    alike = fit_temperature(
        np.concatenate([many[0], few[0]]), np.concatenate([many[1], few[1]]), np.repeat(["many", "few"], 20_000)
    )
    assert found == pytest.approx(alike, rel=0.05)
    assert found < 0.9 * fit_temperature(logits, labels, np.full(22_000, "one"))


def test_a_few_faces_without_an_error_do_not_ask_for_certainty():
    logits = np.eye(6, dtype=np.float32) * 3
    few = fit_temperature(np.tile(logits, (3, 1)), np.tile(np.arange(6), 3), np.full(18, "one"))
    many = fit_temperature(np.tile(logits, (3_000, 1)), np.tile(np.arange(6), 3_000), np.full(18_000, "one"))
    assert 0.5 < few < 0.9
    assert BOUNDS[0] < many < 0.3


def test_probabilities():
    logits = np.array([[1000.0, 0, 0, 0, 0, 0], [2, 1, 0, 0, 0, 0]], dtype=np.float32)
    p = probabilities(logits, 2.0)
    assert p.dtype == np.float32
    assert p.sum(axis=1) == pytest.approx([1, 1])
    assert p[1, 0] / p[1, 1] == pytest.approx(np.exp(0.5))
