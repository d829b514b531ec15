"""Manifests for the tests of the split: rows whose clusters and people are tied together in every way."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from ferops.classes import DEFAULT_CLASSES
from sample_images import quick_params


def split_settings(**changes: Any) -> Any:
    asked = {"official_test": False, "test_share": 0.2, "val_share": 0.15, "folds": 0, "test_fold": 0}
    return quick_params(split=asked | changes).split


def make_manifest(
    number: int,
    *,
    people: int | None = None,
    clusters: int | None = None,
    source: str = "here",
    usage: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Rows whose labels go round; people and clusters are drawn at random, or absent and unique."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, clusters, number) if clusters else [f"{source} {seed} {i}" for i in range(number)]
    return pd.DataFrame(
        {
            "image_id": [_digest(f"{source} {seed} {i}") for i in range(number)],
            "label": [DEFAULT_CLASSES[i % len(DEFAULT_CLASSES)] for i in range(number)],
            "source": source,
            "usage": usage,
            "subject": [f"p{p}" for p in rng.integers(0, people, number)] if people else None,
            "cluster": [f"c{c}" for c in drawn],
        }
    ).assign(connected=lambda rows: rows["image_id"])


@st.composite
def tied_manifests(draw: st.DrawFn, *, usages: tuple[str | None, ...] = (None,)) -> pd.DataFrame:
    """Rows in blocks, each tied in its own way: alone, a giant group, a chain row by row, a mesh, people with images.

    Everything is drawn: sources, labels (tiny classes come by themselves), official usage.
    """
    kinds = ("alone", "giant", "chain", "mesh", "people")
    blocks = draw(st.lists(st.tuples(st.sampled_from(kinds), st.integers(1, 30)), min_size=3, max_size=12))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for block, (kind, size) in enumerate(blocks):
        source = f"s{rng.integers(0, 3)}"
        for i in range(size):
            cluster, subject = {
                "alone": (i, None),
                "giant": (0, None),
                "chain": (i // 2, (i + 1) // 2),  # c0p0, c0p1, c1p1, c1p2, ...: only the walk along it finds the whole
                "mesh": (rng.integers(0, size), rng.integers(0, size)),
                "people": (i, i // 4),
            }[kind]
            rows.append(
                {
                    "image_id": _digest(f"{seed} {block} {i}"),
                    # the last classes are rare
                    "label": DEFAULT_CLASSES[min(rng.geometric(0.35) - 1, len(DEFAULT_CLASSES) - 1)],
                    "source": source,
                    "usage": usages[rng.integers(0, len(usages))],
                    "subject": None if subject is None else f"{block} {subject}",
                    "cluster": f"{block} {cluster}",
                    "connected": f"{block} {i}",
                }
            )
    # An image of one source found again in another ties the two, whatever else they are tied to
    for _ in range(draw(st.integers(0, 2))):
        one, other = rng.integers(0, len(rows), 2)
        rows[one]["cluster"] = rows[other]["cluster"]
    return pd.DataFrame(rows).astype({"usage": object, "subject": object})


def reached(manifest: pd.DataFrame, starts: set[int]) -> set[int]:
    """The positions tied to `starts`, by walking from row to row: slow and plain, to check the graph's answer."""
    rows = manifest.to_dict("records")
    seen, todo = set(starts), list(starts)
    while todo:
        here = rows[todo.pop()]
        for i, row in enumerate(rows):
            person = pd.notna(row["subject"]) and (row["source"], row["subject"]) == (here["source"], here["subject"])
            if i not in seen and (person or row["cluster"] == here["cluster"]):
                seen.add(i)
                todo.append(i)
    return seen


def torn(joined: pd.DataFrame, part: str) -> list[tuple[int, int]]:
    """Pairs of rows that show the same cluster or person and are in two parts: every pair, compared by hand."""
    rows = joined.to_dict("records")
    return [
        (i, j)
        for i, one in enumerate(rows)
        for j, other in enumerate(rows[:i])
        if one[part] != other[part]
        and (
            one["cluster"] == other["cluster"]
            or (pd.notna(one["subject"]) and (one["source"], one["subject"]) == (other["source"], other["subject"]))
        )
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
