"""reports/validate/index.html: one self-contained page about what came in and what was quarantined."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from ferops.datasets.thumbnails import Thumbnails, read_thumbnails
from ferops.layout import Layout
from ferops.pages import render
from ferops.records.validate import ValidateSummary
from ferops.validation.label_review import Review
from ferops.validation.quarantine import REASONS

PER_REASON = 8
SUSPECTS = 60
SPLITS = ("train", "val", "test")
CONFLICTS = ("label_conflict", "near_label_conflict")

EXPLAINED = {
    "undecodable": "The file is not a complete image in a supported format.",
    "too_small": "A side is shorter than validate.min_side_px.",
    "too_large": "A side is longer than validate.max_side_px.",
    "blank": "The grey levels hardly differ: the image shows nothing.",
    "exact_duplicate": "Another row has exactly these pixels; one copy is kept, a training copy before a test copy.",
    "label_conflict": "Pixel-identical copies have different labels, so no label can be trusted.",
    "not_a_face": "Most annotators who voted saw no face in it.",
    "near_duplicate": "An altered copy (recompressed, resized, mirrored, cropped, brightened) of it is kept.",
    "near_label_conflict": "Altered copies of this image have different labels, so no label can be trusted.",
    "unknown_label": "The label is not one that ferops knows.",
}


def validate_page(
    layout: Layout, summary: ValidateSummary, facts: pd.DataFrame, result: pd.DataFrame, review: Review | None
) -> str:
    """Return the page. `facts` and `result` are the frames of `quarantine.assign_outcomes`.

    The images shown are read again: up to 8 per reason, and up to 60 suspected label errors.
    """
    examples = _examples(facts.join(result[["reason", "detail"]]))
    suspects = facts.head(0) if review is None else review.table[review.table["suspected"]].head(SUSPECTS)
    thumbnails = read_thumbnails(layout, *examples.values(), suspects)
    return render(
        "ferops.validation",
        "report.html.j2",
        summary=summary,
        reasons=[
            {
                "name": reason.replace("_", " "),
                "count": summary.quarantined[reason],
                "why": EXPLAINED[reason],
                "rows": [_figure(row, thumbnails) for row in examples[reason].to_dict("records")],
            }
            for reason in REASONS
            if reason in summary.quarantined
        ],
        quarantined=sum(summary.quarantined.values()),
        left_out=sum(summary.excluded.values()) + sum(summary.excluded_by_usage.values()),
        splits=[split for split in SPLITS if any(split in one.usage for one in summary.sources.values())],
        most=max(summary.class_counts.values(), default=0) or 1,
        suspects=[_figure(row, thumbnails) for row in suspects.to_dict("records")],
        failed=[one for one in summary.expectations if not one.success],
    )


def _examples(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Up to 8 rows per reason, spread over the data; conflicts by cluster, so that the copies stand side by side."""
    chosen: dict[str, pd.DataFrame] = {}
    for reason, quarantined in rows.groupby("reason"):
        conflict = reason in CONFLICTS
        ordered = quarantined.sort_values("cluster", kind="stable") if conflict else quarantined
        step = 1 if conflict else max(len(quarantined) // PER_REASON, 1)
        chosen[str(reason)] = ordered.iloc[::step].head(PER_REASON)
    return chosen


def _figure(row: Mapping[Hashable, Any], thumbnails: Thumbnails) -> dict[str, Any]:
    return {
        **{str(name): value for name, value in row.items()},
        "thumbnail": thumbnails[row["source"], row["row"]],
        "where": f"{row['source']} row {row['row']}",
        "label": row["label"] if isinstance(row["label"], str) else "unlabelled",
    }
