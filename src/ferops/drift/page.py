"""reports/drift/index.html: the differences between two data versions, for a reviewer. Self-contained."""

from __future__ import annotations

from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from ferops.validation.page import thumbnail

WIDTH_PX, HEIGHT_PX = 220, 48
"""Of a histogram."""
KINDS = {
    "relabelled": "The same image with another label",
    "added": "In the later version only",
    "removed": "In the earlier version only",
}


def render(summary: dict[str, Any], examples: pd.DataFrame, pictures: dict[tuple[str, str], bytes]) -> str:
    """Return the page. `examples` has kind, source, image_id, old, new; `pictures` their encoded images."""
    environment = Environment(loader=PackageLoader("ferops.drift", "."), autoescape=True, undefined=StrictUndefined)
    names = list(dict.fromkeys(shift["source"] for shift in summary["shifts"]))
    return environment.get_template("page.html.j2").render(
        summary=summary,
        groups=[_group(name, summary["shifts"]) for name in names],
        shifted=[shift for shift in summary["shifts"] if shift["word"] != "no"],
        examples=[
            {
                "title": title,
                "kind": kind,
                "rows": [
                    {
                        "thumbnail": thumbnail(pictures[row["source"], row["image_id"]]),
                        "caption": _caption(row["old"], row["new"]),
                        "where": f"{row['source']} {row['image_id'][:10]}",
                    }
                    for row in examples[examples["kind"] == kind].to_dict("records")
                ],
            }
            for kind, title in KINDS.items()
            if (examples["kind"] == kind).any()
        ],
    )


def _caption(old: Any, new: Any) -> str:
    return " -> ".join(label for label in (old, new) if isinstance(label, str))


def _group(name: str, shifts: list[dict[str, Any]]) -> dict[str, Any]:
    own = [shift for shift in shifts if shift["source"] == name]
    most = max(
        share
        for shift in own
        if shift["kind"] == "shares"
        for side in ("before", "after")
        for share in shift[side].values()
    )
    return {
        "name": name,
        "classes": [
            shift
            | {
                "bars": [
                    (label, share, shift["after"][label], 100 * share / most, 100 * shift["after"][label] / most)
                    for label, share in shift["before"].items()
                ]
            }
            for shift in own
            if shift["kind"] == "shares"
        ],
        "numbers": [
            shift | {"lines": {side: _line(shift["histogram"], side) for side in ("before", "after")}}
            for shift in own
            if shift["kind"] == "numbers"
        ],
    }


def _line(histogram: dict[str, Any], side: str) -> str:
    """Return the points of an SVG polyline: the histogram as steps, both sides on one scale."""
    highest = max(*histogram["before"], *histogram["after"]) or 1
    step = WIDTH_PX / len(histogram[side])
    points = [f"0,{HEIGHT_PX}"]
    for place, share in enumerate(histogram[side]):
        y = HEIGHT_PX * (1 - share / highest)
        points += [f"{place * step:.1f},{y:.1f}", f"{(place + 1) * step:.1f},{y:.1f}"]
    return " ".join([*points, f"{WIDTH_PX},{HEIGHT_PX}"])
