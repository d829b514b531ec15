from __future__ import annotations

import re

import pytest

from ferops.classes import KNOWN_LABELS
from ferops.video.timeline import clock, colours_of, thinned, ticks, timeline_page
from ferops.video.tracks import Lanes, Sight, Span

CLASSES = ("happy", "sad", "bored")


def page(name: str = "clip.mp4", *, tracks: int = 2) -> str:
    lanes = Lanes(CLASSES, frame_s=0.5)
    for number in range(8):
        label = CLASSES[number // 4]
        lanes.add(number / 2, [Sight(track, label, number < 6) for track in range(1, tracks + 1)])
    lanes.close()
    return timeline_page(
        lanes,
        name=name,
        model="starter",
        classes=CLASSES,
        portraits={1: "data:image/jpeg;base64,AA"},
        facts={"frames": "8"},
    )


def test_a_lane_for_each_face_a_colour_for_each_expression() -> None:
    html = page()
    bars = re.findall(r'<i( class="unsure")? style="left: ([\d.]+)%; width: ([\d.]+)%; background: (#\w+)"', html)
    happy, sad = colours_of(CLASSES)["happy"], colours_of(CLASSES)["sad"]
    lane = [("", "0.000", "50.000", happy), ("", "50.000", "25.000", sad), (' class="unsure"', "75.000", "25.000", sad)]
    assert bars == lane * 2
    for text in ("face 1", "face 2", "0:02", "happy", "bored", "data:image/jpeg"):
        assert text in html


def test_it_needs_nothing_from_elsewhere_and_shows_names_as_text() -> None:
    html = page("<script>alert(1)</script>.mp4")
    assert "<script" not in html
    assert not re.search(r"(src|href)=.?(http|//)", html)


def test_a_video_without_faces_is_said() -> None:
    lanes = Lanes(CLASSES, frame_s=0.1)
    lanes.add(0.0, [])
    lanes.close()
    assert "No face" in timeline_page(lanes, name="a", model="m", classes=CLASSES, portraits={}, facts={})


def test_many_faces_are_all_in_the_table() -> None:
    html = page(tracks=70)
    assert html.count('class="lane"') == 60
    assert "10 further faces" in html
    assert html.count("<tr><th>") == 70 + 1


def test_each_expression_has_a_colour_of_its_own() -> None:
    colours = colours_of((*KNOWN_LABELS, "bored", "proud"))
    assert len(set(colours.values())) == len(KNOWN_LABELS) + 2


def test_round_times_on_the_axis() -> None:
    assert ticks(95) == [0, 15, 30, 45, 60, 75, 90]
    assert ticks(0.8) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert all(3 <= len(ticks(seconds)) <= 10 for seconds in (1, 7, 59, 61, 600, 5400, 7200, 36_000, 100_000))
    assert [clock(at_s) for at_s in (0, 7.5, 59.96, 61, 3723)] == ["0:00", "0:07.5", "1:00", "1:01", "1:02:03"]


def test_of_many_spans_what_filled_most_is_drawn() -> None:
    spans = [Span(k, k + 0.9, "happy", True) for k in range(1000)] + [Span(1500, 2000, "sad", True)]
    spans[5] = Span(5, 5.9, "sad", True)
    found = thinned(spans, 2000.0, columns=100)
    assert [(span.label, span.start_s, pytest.approx(span.end_s)) for span in found] == [
        ("happy", 0.0, 1000.0),
        ("sad", 1500.0, 2000.0),
    ]
