"""A page that shows who showed which expression when: a lane for each face, a colour for each expression."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferops.pages import render
from ferops.video.tracks import Lanes, Span, TrackSummary

MOST_LANES = 60
"""Lanes that are drawn, of the tracks that were seen longest; the table names all."""
COLUMNS = 480
"""Spans are drawn one by one while a lane has no more of them; of more, what filled most of each column of the page."""

_COLOURS = {  # told apart by people with any colour vision (Okabe and Ito); a few lighter or darker
    "anger": "#d55e00",
    "disgust": "#009e73",
    "fear": "#8d5bb5",
    "happy": "#f0c000",
    "sad": "#0072b2",
    "surprised": "#56c4f0",
    "neutral": "#9aa4af",
    "contempt": "#cc79a7",
}
_OTHERS = ("#7f6000", "#4c4c9d", "#b58b8b", "#5b7f5b", "#c06cc0", "#404a54")


@dataclass(frozen=True)
class _Bar:
    """A span as it is drawn, in percent of the width."""

    left: float
    width: float
    colour: str
    sure: bool
    title: str


def timeline_page(
    lanes: Lanes,
    *,
    name: str,
    model: str,
    classes: Sequence[str],
    portraits: Mapping[int, str],
    facts: Mapping[str, str],
) -> str:
    """Return the page, self-contained.

    Args:
        name: of the video.
        model: which model answered.
        portraits: number of a track -> data URI of an image of it.
        facts: what else to say of the video, by a word or two.
    """
    end_s = max(lanes.seconds, 1e-3)
    colours = colours_of(classes)
    spans, summaries = lanes.spans(), lanes.summaries()
    drawn = sorted(sorted(summaries, key=lambda each: -each.seconds)[:MOST_LANES], key=lambda each: each.track)
    return render(
        "ferops.video",
        "timeline.html.j2",
        name=name,
        model=model,
        colours=colours,
        facts=facts,
        ticks=[(100 * at_s / end_s, clock(at_s)) for at_s in ticks(end_s)],
        lanes=[(each, portraits.get(each.track), _bars(spans[each.track], end_s, colours)) for each in drawn],
        hidden=len(summaries) - len(drawn),
        tracks=[(each, portraits.get(each.track), _parts(each, colours)) for each in summaries],
        clock=clock,
    )


def colours_of(classes: Sequence[str]) -> dict[str, str]:
    """Return the colour of each expression; classes of one's own get those that are left."""
    others = [name for name in classes if name not in _COLOURS]
    return {name: _COLOURS.get(name) or _OTHERS[others.index(name) % len(_OTHERS)] for name in classes}


def ticks(end_s: float, *, at_most: int = 9) -> list[float]:
    """Return round times from 0 to `end_s`, seconds."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    step = next((each for each in steps if end_s / each <= at_most), 3600 * math.ceil(end_s / 3600 / at_most))
    return [number * step for number in range(int(end_s / step + 1e-9) + 1)]


def clock(time_s: float) -> str:
    """Return `0:07.5` for 7.5 seconds, `1:02:03` for an hour more than two minutes and three seconds."""
    tenths = round(time_s * 10)
    minutes, seconds = divmod(tenths // 10, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{text}.{tenths % 10}" if tenths % 10 else text


def thinned(spans: Sequence[Span], end_s: float, *, columns: int = COLUMNS) -> list[Span]:
    """Return `spans`, or, if there are more than `columns`, what filled most of each column, neighbours joined."""
    if len(spans) <= columns:
        return list(spans)
    filled: list[dict[tuple[str, bool], float]] = [{} for _ in range(columns)]
    wide_s = end_s / columns
    for span in spans:
        for place in range(int(span.start_s / wide_s), min(int(span.end_s / wide_s), columns - 1) + 1):
            share = min(span.end_s, (place + 1) * wide_s) - max(span.start_s, place * wide_s)
            what = (span.label, span.sure)
            filled[place][what] = filled[place].get(what, 0.0) + share
    joined: list[Span] = []
    for place, shares in enumerate(filled):
        if not shares:
            continue
        (label, sure), start_s = max(shares, key=lambda what: shares[what]), place * wide_s
        last = joined[-1] if joined else None
        if last and (last.label, last.sure) == (label, sure) and math.isclose(last.end_s, start_s):
            last.end_s = start_s + wide_s
        else:
            joined.append(Span(start_s, start_s + wide_s, label, sure))
    return joined


def _bars(spans: Sequence[Span], end_s: float, colours: Mapping[str, str]) -> list[_Bar]:
    return [
        _Bar(
            100 * span.start_s / end_s,
            max(100 * (span.end_s - span.start_s) / end_s, 0.05),
            colours[span.label],
            span.sure,
            f"{span.label}{'' if span.sure else ', unsure'}: {clock(span.start_s)} to {clock(span.end_s)}",
        )
        for span in thinned(spans, end_s)
    ]


def _parts(summary: TrackSummary, colours: Mapping[str, str]) -> list[tuple[str, float, str]]:
    """Return label, share and colour of each expression that was shown, largest share first."""
    shares = sorted(summary.shares.items(), key=lambda each: -each[1])
    return [(label, share, colours[label]) for label, share in shares if share > 0]
