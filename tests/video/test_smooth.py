from __future__ import annotations

import numpy as np
import pytest

from ferops.video.smooth import Smoother


def test_it_is_the_mean_weighed_by_age() -> None:
    times_s = [0.0, 0.04, 0.5, 0.52, 3.0]
    answers = np.random.default_rng(0).dirichlet(np.ones(5), len(times_s)).astype(np.float32)
    smoother = Smoother(0.4)
    for last in range(len(times_s)):
        found = smoother.add(answers[last], times_s[last])
        ages = times_s[last] - np.array(times_s[: last + 1])
        expected = np.average(answers[: last + 1], axis=0, weights=np.exp(-ages / 0.4))
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert found.sum() == pytest.approx(1, abs=1e-6)


def test_a_window_of_nothing_does_not_smooth() -> None:
    smoother = Smoother(0)
    for answer in np.eye(3, dtype=np.float32):
        np.testing.assert_array_equal(smoother.add(answer, 1.0), answer)


def test_twice_as_many_frames_change_little() -> None:
    """A change after a second shows up as fast at 30 frames a second as at 15."""

    def after(fps: int) -> float:
        smoother = Smoother(0.5)
        for time_s in np.arange(0, 1.5, 1 / fps):
            found = smoother.add(np.array([time_s < 1, time_s >= 1], np.float32), float(time_s))
        return float(found[1])

    assert after(30) == pytest.approx(after(15), abs=0.05)
    assert after(30) == pytest.approx((1 - np.exp(-0.5 / 0.5)) / (1 - np.exp(-1.5 / 0.5)), abs=0.05)
