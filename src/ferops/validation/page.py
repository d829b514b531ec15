"""reports/validate/index.html: one page for people, self-contained, that says what came in and what was held back."""

from __future__ import annotations

import base64
import io
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from ferops.datasets.images import UnreadableImageError, decode
from ferops.datasets.raw import open_raw
from ferops.layout import Layout
from ferops.validation.labels import Review
from ferops.validation.triage import REASONS

THUMBNAIL_PX = 96
PER_REASON = 8
SUSPECTS = 60
PARTS = ("train", "val", "test")
CONFLICTS = ("label_conflict", "near_label_conflict")

EXPLAINED = {
    "undecodable": "The bytes are no complete image.",
    "too_small": "A side is shorter than min_side_px.",
    "too_large": "A side is longer than max_side_px.",
    "blank": "The grey levels hardly differ: no picture in it.",
    "exact_duplicate": "Another row has exactly these pixels; one copy is kept, a training copy before a test copy.",
    "label_conflict": "Pixel-identical copies carry different labels, so none of them can be trusted.",
    "not_a_face": "Most annotators who voted saw no face in it.",
    "near_duplicate": "An altered copy (recompressed, resized, mirrored, cropped, brightened) of it is kept.",
    "near_label_conflict": "Altered copies of this picture carry different labels, so none of them can be trusted.",
    "unknown_label": "The label is none that ferops knows.",
}


def render(
    layout: Layout, summary: dict[str, Any], facts: pd.DataFrame, result: pd.DataFrame, review: Review | None
) -> str:
    """Return the page. `facts` and `result` are the frames of triage, `review` that of the labels, if there was one.

    The pictures shown are read again: up to 8 per reason, and up to 60 suspected label errors.
    """
    environment = Environment(
        loader=PackageLoader("ferops.validation", "."), autoescape=True, undefined=StrictUndefined
    )
    held = _held(facts.join(result[["reason", "detail"]]))
    suspects = _suspects(review, facts)
    pictures = _pictures(layout, [*held.values(), suspects])
    return environment.get_template("page.html.j2").render(
        summary=summary,
        reasons=[
            {
                "name": reason.replace("_", " "),
                "count": summary["quarantined"][reason],
                "why": EXPLAINED[reason],
                "rows": [_figure(row, pictures) for row in held[reason].to_dict("records")],
            }
            for reason in REASONS
            if reason in summary["quarantined"]
        ],
        held=sum(summary["quarantined"].values()),
        left_out=sum(summary["excluded"].values()) + sum(summary["excluded_by_usage"].values()),
        parts=[part for part in PARTS if any(part in one["usage"] for one in summary["sources"].values())],
        classes=_class_rows(summary),
        suspects=[_figure(row, pictures) for row in suspects.to_dict("records")],
        failed=[verdict for verdict in summary["expectations"] if not verdict["success"]],
        expectations=summary["expectations"],
        provenance=summary["provenance"],
    )


def _class_rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """One dict per class: counts of the accepted rows per source and in all, and the bar's width in %."""
    total = summary["class_counts"]
    most = max(total.values(), default=0) or 1
    return [
        {
            "name": name,
            "sources": [source["class_counts"][name] for source in summary["sources"].values()],
            "came_in": summary["class_counts_in"][name],
            "count": count,
            "share": count / (summary["accepted"] or 1),
            "width": 100 * count / most,
        }
        for name, count in total.items()
    ]


def _held(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Up to 8 rows per reason, spread over the data; conflicts by cluster, so that the copies stand side by side."""
    chosen: dict[str, pd.DataFrame] = {}
    for reason, held in rows.groupby("reason"):
        conflict = reason in CONFLICTS
        ordered = held.sort_values("cluster", kind="stable") if conflict else held
        step = 1 if conflict else max(len(held) // PER_REASON, 1)
        chosen[str(reason)] = ordered.iloc[::step].head(PER_REASON)
    return chosen


def _suspects(review: Review | None, facts: pd.DataFrame) -> pd.DataFrame:
    """The least likely of the suspected labels; no rows without a review."""
    if review is None:
        return facts.head(0)
    return review.table[review.table["suspected"]].head(SUSPECTS)


def _pictures(layout: Layout, shown: list[pd.DataFrame]) -> dict[tuple[str, int], str | None]:
    """Return the thumbnail of every row of `shown` under (source, row)."""
    found: dict[tuple[str, int], str | None] = {}
    for source, rows in pd.concat([frame[["source", "row"]] for frame in shown]).groupby("source"):
        images = open_raw(layout, str(source)).images(set(rows["row"]))
        found |= {(str(source), row): thumbnail(image) for row, image in images.items()}
    return found


def _figure(row: Mapping[Hashable, Any], pictures: dict[tuple[str, int], str | None]) -> dict[str, Any]:
    return {
        **{str(name): value for name, value in row.items()},
        "thumbnail": pictures[row["source"], row["row"]],
        "where": f"{row['source']} row {row['row']}",
        "label": row["label"] if isinstance(row["label"], str) else "unlabelled",
    }


def thumbnail(image: bytes) -> str | None:
    """Return a PNG of at most 96 px as a data URI, or None where the image cannot be decoded."""
    try:
        picture = Image.fromarray(decode(image))
    except UnreadableImageError:
        return None
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
