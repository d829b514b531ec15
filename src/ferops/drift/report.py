"""reports/drift/index.html: the differences between two data versions, for a reviewer. Self-contained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ferops.datasets.thumbnails import thumbnail_uri
from ferops.pages import render
from ferops.records.drift import DriftSummary, NumberShift, ShareShift

WIDTH_PX, HEIGHT_PX = 220, 48
"""Of a histogram."""
KINDS = {
    "relabelled": "The same image with another label",
    "added": "In the later version only",
    "removed": "In the earlier version only",
}


def drift_page(summary: DriftSummary, examples: pd.DataFrame, images: dict[tuple[str, str], bytes]) -> str:
    """Return the page. `examples` has kind, source, image_id, old, new; `images` their encoded images."""
    return render(
        "ferops.drift",
        "report.html.j2",
        summary=summary,
        groups=shift_groups(summary.shifts),
        shifted=[shift for shift in summary.shifts if shift.word != "no"],
        examples=[
            {
                "title": title,
                "kind": kind,
                "rows": [
                    {
                        "thumbnail": thumbnail_uri(images[row["source"], row["image_id"]]),
                        "caption": " -> ".join(label for label in (row["old"], row["new"]) if isinstance(label, str)),
                        "where": f"{row['source']} {row['image_id'][:10]}",
                    }
                    for row in examples[examples["kind"] == kind].to_dict("records")
                ],
            }
            for kind, title in KINDS.items()
            if (examples["kind"] == kind).any()
        ],
    )


def shift_groups(shifts: Sequence[ShareShift | NumberShift]) -> list[dict[str, Any]]:
    """Return the groups, one of each source, that the macro `tables` of drift/shifts.html.j2 shows."""
    names = list(dict.fromkeys(shift.source for shift in shifts))
    return [
        {
            "name": name,
            "classes": [_with_bars(one) for one in shifts if one.source == name and one.kind == "shares"],
            "numbers": [_with_lines(one) for one in shifts if one.source == name and one.kind == "numbers"],
        }
        for name in names
    ]


def _with_bars(shift: ShareShift) -> dict[str, Any]:
    most = max([*shift.before.values(), *shift.after.values()])
    pairs = [(label, share, shift.after[label]) for label, share in shift.before.items()]
    bars = [(label, old, new, 100 * old / most, 100 * new / most) for label, old, new in pairs]
    return {**dict(shift), "bars": bars}


def _with_lines(shift: NumberShift) -> dict[str, Any]:
    highest = max(*shift.histogram.before, *shift.histogram.after) or 1
    lines = {side: _polyline(getattr(shift.histogram, side), highest) for side in ("before", "after")}
    return {**dict(shift), "lines": lines}


def _polyline(shares: tuple[float, ...], highest: float) -> str:
    """Return the points of an SVG polyline: a histogram as steps."""
    step = WIDTH_PX / len(shares)
    points = [f"0,{HEIGHT_PX}"]
    for place, share in enumerate(shares):
        y = HEIGHT_PX * (1 - share / highest)
        points += [f"{place * step:.1f},{y:.1f}", f"{(place + 1) * step:.1f},{y:.1f}"]
    return " ".join([*points, f"{WIDTH_PX},{HEIGHT_PX}"])
