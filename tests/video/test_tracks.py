from __future__ import annotations

import pytest

from ferops.video.tracks import Lanes, Sight

CLASSES = ("anger", "happy", "sad")


def lanes(*frames: tuple[float, dict[int, str]], unsure: tuple[str, ...] = ()) -> Lanes:
    made = Lanes(CLASSES, frame_s=0.1)
    for time_s, labels in frames:
        made.add(time_s, [Sight(track, label, label not in unsure) for track, label in labels.items()])
    made.close()
    return made


def test_times_shares_and_changes_of_each_track() -> None:
    found = lanes(
        (0.0, {1: "happy"}), (0.2, {1: "happy", 2: "sad"}), (0.5, {1: "sad", 2: "sad"}), (0.6, {2: "anger"})
    ).summaries()
    one, two = found
    assert (one.track, one.start_s, one.end_s, one.seconds, one.frames) == (1, 0.0, 0.6, 0.6, 3)
    assert (one.label, one.changes) == ("happy", 1)
    assert one.shares == {"anger": 0.0, "happy": pytest.approx(5 / 6, abs=1e-4), "sad": pytest.approx(1 / 6, abs=1e-4)}
    assert (two.start_s, two.end_s, two.label, two.changes) == (0.2, 0.7, "sad", 1)
    assert sum(two.shares.values()) == pytest.approx(1, abs=1e-3)


def test_a_gap_is_no_time_seen() -> None:
    made = lanes((0.0, {1: "happy"}), (0.1, {}), (0.8, {1: "happy"}), (10.0, {1: "happy"}))
    (one,) = made.summaries()
    assert one.seconds == pytest.approx(0.1 + 1.0 + 0.1)  # behind a frame that is 9 s before the next, nobody knows
    assert [(span.start_s, round(span.end_s, 3)) for span in made.spans()[1]] == [(0.0, 0.1), (0.8, 1.8), (10.0, 10.1)]
    assert one.changes == 0


def test_unsure_is_no_change_of_expression() -> None:
    made = Lanes(CLASSES, frame_s=0.1)
    for number in range(4):
        made.add(number / 10, [Sight(1, "happy", number != 2)])
    made.close()
    assert [span.sure for span in made.spans()[1]] == [True, False, True]
    assert made.summaries()[0].changes == 0


def test_memory_grows_with_changes_not_with_frames() -> None:
    made = lanes(*((number / 25, {1: "happy"}) for number in range(5000)))
    assert len(made.spans()[1]) == 1
    assert made.seconds == pytest.approx(4999 / 25 + 0.1)
