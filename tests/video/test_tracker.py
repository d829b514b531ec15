"""Paths of faces that are made up, with the errors of a detector: who is who must stay the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ferops.video.motion import STEP_S, Motion
from ferops.video.tracker import Tracker

Path = Callable[[float], tuple[float, float, float] | None]
"""Seconds -> centre x, y and side of a face in pixels, or None while it is away."""
STRONG = 0.9


def box(x: float, y: float, side: float) -> list[float]:
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def follow(
    *paths: Path, fps: float = 30.0, seconds: float = 4.0, score: Callable[[int, float], float] = lambda _i, _t: 0.97
) -> list[list[tuple[float, int | None]]]:
    """Return time and number of each path's sightings. Earlier paths are nearer: they hide what they cover."""
    rng = np.random.default_rng(0)
    tracker = Tracker(strong=STRONG, lost_s=1.0)
    numbers: list[list[tuple[float, int | None]]] = [[] for _ in paths]
    for time_s in np.arange(0, seconds, 1 / fps):
        there = [(i, place) for i, path in enumerate(paths) if (place := path(float(time_s))) is not None]
        visible = [(i, at) for i, at in there if not any(j < i and _covers(near, at) for j, near in there)]
        # The corners of a detector's boxes are off by about a fiftieth of the face
        boxes = np.array([rng.normal(box(*at), 0.02 * at[2]) for _, at in visible]).reshape(-1, 4)
        tracker.predict(float(time_s))
        found = tracker.update(boxes, np.array([score(i, float(time_s)) for i, _ in visible]))
        for (i, _), track in zip(visible, found, strict=True):
            if track is not None:
                numbers[i].append((float(time_s), track.number))
    return numbers


def _covers(near: tuple[float, float, float], far: tuple[float, float, float]) -> bool:
    return max(abs(near[0] - far[0]), abs(near[1] - far[1])) < 0.5 * near[2]


def only(sightings: list[tuple[float, int | None]]) -> int | None:
    """Return the one number of a path; it has none in the frame before it is confirmed."""
    (number,) = {number for _, number in sightings} - {None}
    return number


@pytest.mark.parametrize("fps", [30.0, 10.0, 5.0])
def test_two_who_cross_keep_their_numbers(fps: float) -> None:
    """One is hidden behind the other for a quarter of a second."""
    right, left = follow(lambda t: (100 + 150 * t, 200, 80), lambda t: (700 - 150 * t, 200, 80), fps=fps)
    assert (only(right), only(left)) == (1, 2)
    assert right[-1][0] == left[-1][0] > 3.7


def test_those_who_come_together_are_numbered_from_the_left() -> None:
    """In the first frame, and later, when the second frame confirms them."""
    places = [600, 200, 400]
    first = follow(*(lambda _t, x=x: (x, 200, 80) for x in places))
    assert [only(each) for each in first] == [3, 1, 2]
    later = follow(lambda _t: (900, 200, 80), *(lambda t, x=x: (x, 200, 80) if t > 1 else None for x in places))
    assert [only(each) for each in later] == [1, 4, 2, 3]


def test_one_who_passes_in_front_of_another() -> None:
    walking, sitting = follow(lambda t: (100 + 200 * t, 200, 90), lambda _: (400, 205, 70))
    assert (only(walking), only(sitting)) == (1, 2)
    assert sitting[-1][0] > 3.9


def test_a_short_loss_keeps_the_number_and_a_long_one_does_not() -> None:
    def moving(away_s: float) -> Path:
        return lambda t: None if 1.0 < t < 1.0 + away_s else (100 + 60 * t, 200, 80)

    (short,), (long,) = follow(moving(0.8)), follow(moving(1.5))
    assert only(short) == 1
    assert [number for time_s, number in long if time_s <= 1.0] == [1] * 31
    assert {number for time_s, number in long if time_s > 2.6} == {2}


def test_who_enters_gets_the_next_number_and_who_leaves_takes_his_along() -> None:
    stays, enters, leaves = follow(
        lambda _: (100, 200, 80),
        lambda t: (500, 200, 80) if t >= 1 else None,
        lambda t: (300, 200, 80) if t < 2 else None,
    )
    assert (only(stays), only(leaves), only(enters)) == (1, 2, 3)
    assert enters[0][1] is None  # one frame alone may be a mistake of the detector


def test_a_mistake_of_one_frame_gets_no_number() -> None:
    _, mistake, later = follow(
        lambda _: (100, 200, 80),
        lambda t: (400, 100, 60) if abs(t - 0.5) < 0.01 else None,
        lambda t: (400, 100, 60) if t > 1.5 else None,
    )
    assert [number for _, number in mistake] == [None]
    assert only(later) == 2


def test_weak_detections_prolong_a_track_and_begin_none() -> None:
    fading, faint = follow(
        lambda t: (100 + 60 * t, 200, 80),
        lambda _: (500, 200, 80),
        score=lambda i, t: 0.6 if i == 1 or 1 < t < 3 else 0.97,
    )
    assert only(fading) == 1
    assert len(fading) == 120  # not lost for two seconds, but seen
    assert faint == []


def test_a_low_frame_rate() -> None:
    """Three frames a second; a walker's face moves by a third of its side from one to the next."""
    walks, sits = follow(lambda t: (100 + 80 * t, 200, 80), lambda _: (600, 200, 80), fps=3.0, seconds=6.0)
    assert (only(walks), only(sits)) == (1, 2)


def test_the_filter_is_the_published_one() -> None:
    """The same in matrices, as in DeepSORT's kalman_filter.py."""
    rng = np.random.default_rng(1)
    boxes = [np.array(box(100 + 4 * k, 80 + k, 60 + k)) + rng.normal(0, 1, 4) for k in range(6)]
    motion = Motion(boxes[0])
    mean = np.concatenate([motion.place, np.zeros(4)])

    def noise(place: float, aspect: float, speed: float, aspect_speed: float) -> np.ndarray:
        h = mean[3]
        return np.diag(
            np.array([h * place, h * place, aspect, h * place, h * speed, h * speed, aspect_speed, h * speed])
        )

    covariance = noise(2 / 20, 1e-2, 10 / 160, 1e-5) ** 2
    go_on = np.eye(8) + np.eye(8, k=4)
    for measured in boxes[1:]:
        motion.predict(STEP_S)
        covariance = go_on @ covariance @ go_on.T + noise(1 / 20, 1e-2, 1 / 160, 1e-5) ** 2
        mean = go_on @ mean
        np.testing.assert_allclose(motion.place, mean[:4], rtol=1e-9)
        seen = covariance[:4, :4] + noise(1 / 20, 1e-1, 0, 0)[:4, :4] ** 2
        gain = covariance[:, :4] @ np.linalg.inv(seen)
        x1, y1, x2, y2 = measured
        place = np.array([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / (y2 - y1), y2 - y1])
        mean, covariance = mean + gain @ (place - mean[:4]), covariance - gain @ seen @ gain.T
        motion.update(measured)
        np.testing.assert_allclose(np.concatenate([motion.place, motion.speed]), mean, rtol=1e-9, atol=1e-12)


def test_two_short_steps_lead_as_far_as_a_long_one() -> None:
    one, two = Motion(np.array(box(100, 100, 50))), Motion(np.array(box(100, 100, 50)))
    for motion in (one, two):
        motion.speed = np.array([3.0, -1.0, 0.0, 0.5])
    one.predict(0.2)
    two.predict(0.1)
    two.predict(0.1)
    np.testing.assert_allclose(one.box, two.box)
    np.testing.assert_allclose(one.place[:2], [100 + 3 * 6, 100 - 6])
