"""reports/validate/near_duplicates.html: the pairs that were taken for copies, for people to look at."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferops.config import Validate
from ferops.datasets.thumbnails import Thumbnails, read_thumbnails
from ferops.layout import Layout
from ferops.pages import render
from ferops.records.validate import ValidateSummary
from ferops.validation.duplicates import SAME_PERSON_SIMILARITY

DOUBTFUL = 150
TYPICAL = 50
"""Pairs on the page: those nearest to the threshold, and others spread evenly over the rest."""


def near_duplicates_page(layout: Layout, summary: ValidateSummary, pairs: pd.DataFrame, settings: Validate) -> str:
    """Return the page. `pairs` is the frame of `duplicates.describe_pairs`; up to 400 images are read again."""
    shown = choose_pairs(pairs.assign(conflict=_labels_differ(pairs)))
    ends = [shown[[f"source_{end}", f"row_{end}"]].set_axis(["source", "row"], axis=1) for end in ("a", "b")]
    thumbnails = read_thumbnails(layout, *ends)
    return render(
        "ferops.validation",
        "near_duplicates.html.j2",
        summary=summary,
        settings=settings,
        same_person=SAME_PERSON_SIMILARITY,
        shown=[_pair(row, thumbnails) for row in shown.to_dict("records")],
        conflicts=int(_labels_differ(pairs).sum()),
    )


def choose_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return at most 200 of `pairs`, the least similar first."""
    ordered = pairs.sort_values("similarity", kind="stable", ignore_index=True)
    rest = ordered.iloc[DOUBTFUL:]
    spread = np.linspace(0, len(rest) - 1, min(TYPICAL, len(rest))).round().astype(int)
    return pd.concat([ordered.iloc[:DOUBTFUL], rest.iloc[spread]])


def _labels_differ(pairs: pd.DataFrame) -> pd.Series:
    return pairs["label_a"].notna() & pairs["label_b"].notna() & (pairs["label_a"] != pairs["label_b"])


def _pair(row: Mapping[Hashable, Any], thumbnails: Thumbnails) -> dict[str, Any]:
    ends = [
        {
            "thumbnail": thumbnails[row[f"source_{end}"], row[f"row_{end}"]],
            "label": row[f"label_{end}"] or "unlabelled",
            "where": f"{row[f'source_{end}']} row {row[f'row_{end}']}",
            "usage": row[f"usage_{end}"] if isinstance(row[f"usage_{end}"], str) else None,
        }
        for end in ("a", "b")
    ]
    usages = {end["usage"] for end in ends}
    return {
        "similarity": row["similarity"],
        "mirrored": row["mirrored"],
        "conflict": row["conflict"],
        "crosses": None not in usages and len(usages) == 2,
        "ends": ends,
    }
