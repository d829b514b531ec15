"""reports/validate/index.html: one page for people, self-contained, that says what came in and what was held back."""

from __future__ import annotations

import base64
import io
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from ferops.datasets.images import UnreadableImageError, decode
from ferops.datasets.raw import open_raw
from ferops.layout import Layout
from ferops.validation.triage import REASONS

THUMBNAIL_PX = 96
PER_REASON = 8
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


def render(layout: Layout, summary: dict[str, Any], facts: pd.DataFrame, result: pd.DataFrame) -> str:
    """Return the page. `facts` and `result` are the frames of triage; up to 8 pictures per reason are read again."""
    environment = Environment(
        loader=PackageLoader("ferops.validation", "."), autoescape=True, undefined=StrictUndefined
    )
    shown = _shown(layout, facts, result)
    reasons = [
        {
            "name": reason.replace("_", " "),
            "count": summary["quarantined"][reason],
            "why": EXPLAINED[reason],
            "rows": shown[reason],
        }
        for reason in REASONS
        if reason in summary["quarantined"]
    ]
    most = max(summary["class_counts"].values(), default=0) or 1
    return environment.get_template("page.html.j2").render(
        summary=summary,
        reasons=reasons,
        held=sum(summary["quarantined"].values()),
        left_out=sum(summary["excluded"].values()),
        bars=[(name, count, 100 * count / most) for name, count in summary["class_counts"].items()],
        failed=[verdict for verdict in summary["expectations"] if not verdict["success"]],
        expectations=summary["expectations"],
        provenance=summary["provenance"],
    )


def _shown(layout: Layout, facts: pd.DataFrame, result: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Up to 8 rows per reason, spread over the data; conflicts by cluster, so that the copies stand side by side."""
    held = facts.join(result[["reason", "detail"]])[result["outcome"] == "quarantined"]
    chosen: dict[str, pd.DataFrame] = {}
    for reason, rows in held.groupby("reason"):
        ordered = rows.sort_values("cluster", kind="stable") if reason in CONFLICTS else rows
        step = 1 if reason in CONFLICTS else max(len(rows) // PER_REASON, 1)
        chosen[str(reason)] = ordered.iloc[::step].head(PER_REASON)
    wanted = pd.concat(chosen.values()) if chosen else held
    images = {
        str(source): open_raw(layout, str(source)).images(set(rows["row"])) for source, rows in wanted.groupby("source")
    }
    return {
        reason: [
            {
                "thumbnail": thumbnail(images[row["source"]][row["row"]]),
                "label": row["label"],
                "detail": row["detail"],
                "where": f"{row['source']} row {row['row']}",
            }
            for row in rows.to_dict("records")
        ]
        for reason, rows in chosen.items()
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
