"""reports/validate/near_duplicates.html: the pairs that were taken for one picture, for people to look at."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from ferops.config import Validate
from ferops.datasets.raw import open_raw
from ferops.layout import Layout
from ferops.validation.page import thumbnail

DOUBTFUL = 150
TYPICAL = 50
"""Pairs on the page: those nearest to the threshold, and others spread evenly over the rest."""


def render(layout: Layout, summary: dict[str, Any], pairs: pd.DataFrame, settings: Validate) -> str:
    """Return the page. `pairs` is the frame of `duplicates.describe`; up to 400 pictures are read again."""
    environment = Environment(
        loader=PackageLoader("ferops.validation", "."), autoescape=True, undefined=StrictUndefined
    )
    chosen = choose(pairs)
    pictures = _pictures(layout, chosen)
    return environment.get_template("near_duplicates.html.j2").render(
        summary=summary,
        settings=settings,
        shown=[_pair(row, pictures) for row in chosen.to_dict("records")],
        conflicts=int(_disagree(pairs).sum()),
        provenance=summary["provenance"],
    )


def choose(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return at most 200 of `pairs`, the least similar first."""
    ordered = pairs.sort_values("similarity", kind="stable", ignore_index=True)
    rest = ordered.iloc[DOUBTFUL:]
    spread = np.linspace(0, len(rest) - 1, min(TYPICAL, len(rest))).round().astype(int)
    return pd.concat([ordered.iloc[:DOUBTFUL], rest.iloc[spread]])


def _disagree(pairs: pd.DataFrame) -> pd.Series:
    return pairs["label_a"].notna() & pairs["label_b"].notna() & (pairs["label_a"] != pairs["label_b"])


def _pictures(layout: Layout, pairs: pd.DataFrame) -> dict[tuple[str, int], str | None]:
    ends = [pairs[[f"source_{end}", f"row_{end}"]].set_axis(["source", "row"], axis=1) for end in ("a", "b")]
    found: dict[tuple[str, int], str | None] = {}
    for source, rows in pd.concat(ends).groupby("source"):
        images = open_raw(layout, str(source)).images(set(rows["row"]))
        found |= {(str(source), row): thumbnail(image) for row, image in images.items()}
    return found


def _pair(row: Mapping[Hashable, Any], pictures: dict[tuple[str, int], str | None]) -> dict[str, Any]:
    ends = [
        {
            "thumbnail": pictures[row[f"source_{end}"], row[f"row_{end}"]],
            "label": row[f"label_{end}"] or "unlabelled",
            "where": f"{row[f'source_{end}']} row {row[f'row_{end}']}",
            "usage": row[f"usage_{end}"] if isinstance(row[f"usage_{end}"], str) else None,
        }
        for end in ("a", "b")
    ]
    return {
        "similarity": row["similarity"],
        "mirrored": row["mirrored"],
        "conflict": isinstance(row["label_a"], str)
        and isinstance(row["label_b"], str)
        and row["label_a"] != row["label_b"],
        "crosses": None not in (ends[0]["usage"], ends[1]["usage"]) and ends[0]["usage"] != ends[1]["usage"],
        "ends": ends,
    }
