"""Rows that show one image: which rows are compared, the clusters they form, and how many there are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ferops.config import Validate
from ferops.records.validate import DuplicateCounts
from ferops.validation.near_duplicates import Thumbnails, near_pairs, no_pairs

USAGE_RANK = {"train": 0, "val": 1, "test": 2}
SAME_PERSON_SIMILARITY = 0.985
"""From which images of one known person with different labels are copies. People are photographed once for each
expression, in one place: such images are alike and rightly labelled. docs/duplicates.md has the measurements."""
NEAR_PAIRS_SCHEMA = pa.schema(
    [
        ("image_id_a", pa.string()),
        ("image_id_b", pa.string()),
        ("similarity", pa.float64()),
        ("mirrored", pa.bool_()),
        ("label_a", pa.string()),
        ("label_b", pa.string()),
        ("source_a", pa.string()),
        ("source_b", pa.string()),
        ("row_a", pa.int64()),
        ("row_b", pa.int64()),
        ("usage_a", pa.string()),
        ("usage_b", pa.string()),
    ]
)


def keep_order(facts: pd.DataFrame) -> pd.Index:
    """Return the index of `facts` in the order in which copies are kept: train, val, test, no usage; then as it is."""
    rank = facts["usage"].map(USAGE_RANK).fillna(len(USAGE_RANK))
    return rank.sort_values(kind="stable").index


def find_near_duplicates(facts: pd.DataFrame, thumbnails: Thumbnails, settings: Validate) -> pd.DataFrame:
    """Return the pairs of near-duplicates as `near_pairs` does, with a and b as positions in `facts`.

    Compared are all images of usable pixels, whatever their label: one row for each `pixel_hash` (the one that would be
    kept), not blank and within the bounds of size. Known people decide before likeness does: two different people are
    never a pair, and one person with two labels only from SAME_PERSON_SIMILARITY on.
    With near_duplicates: ignore, nothing is compared.
    """
    if settings.near_duplicates == "ignore":
        return no_pairs()
    sides = facts[["width", "height"]]
    sound = (
        facts["pixel_hash"].notna()
        & (facts["grey_std"] >= settings.blank_std)
        & (sides.min(axis=1) >= settings.min_side_px)
        & (sides.max(axis=1) <= settings.max_side_px)
    )
    ordered = facts["pixel_hash"].reindex(keep_order(facts))
    rows = np.sort(ordered[sound].drop_duplicates().index.to_numpy(dtype=np.int64))
    pairs = near_pairs(thumbnails[rows], threshold=settings.near_threshold)
    pairs = pairs.assign(a=rows[pairs["a"]], b=rows[pairs["b"]])
    return pairs[~_ruled_out(facts, pairs)].reset_index(drop=True)


def _ruled_out(facts: pd.DataFrame, pairs: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which pairs the subjects rule out. A subject is a person within a source."""
    a, b = (facts.loc[pairs[end], ["source", "subject", "label"]].reset_index(drop=True) for end in ("a", "b"))
    both_known = (a["source"] == b["source"]) & a["subject"].notna() & b["subject"].notna()
    same_person = a["subject"] == b["subject"]
    two_labels = a["label"].notna() & b["label"].notna() & (a["label"] != b["label"])
    unlike = pairs["similarity"].reset_index(drop=True) < SAME_PERSON_SIMILARITY
    return (both_known & (~same_person | (two_labels & unlike))).to_numpy(dtype=bool)


def cluster_names(pixel_hash: pd.Series, pairs: pd.DataFrame) -> pd.Series:
    """Return a name per row that is the same exactly for rows connected by equal pixels and by `pairs`.

    The name is the smallest pixel_hash of the cluster; null where the pixel_hash is.
    """
    codes, hashes = pd.factorize(pixel_hash, sort=True)  # null is -1
    edges = (codes[pairs["a"]], codes[pairs["b"]])
    graph = coo_array((np.ones(len(pairs), dtype=bool), edges), shape=(len(hashes), len(hashes)))
    groups = connected_components(graph, directed=False)[1]
    name_of_hash = pd.Series(hashes, dtype=object).groupby(groups).transform("first")  # sorted: the first is smallest
    names = name_of_hash.reindex(codes).to_numpy(dtype=object)
    return pd.Series(names, index=pixel_hash.index, dtype=object).where(codes >= 0, None)


def describe_pairs(facts: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return near_pairs.parquet (docs/files.md): `pairs` with what is known of both rows."""
    both = pairs[["similarity", "mirrored"]].reset_index(drop=True)
    for end in ("a", "b"):
        rows = facts.loc[pairs[end], ["image_id", "label", "source", "row", "usage"]]
        both = both.join(rows.add_suffix(f"_{end}").reset_index(drop=True))
    columns: list[str] = NEAR_PAIRS_SCHEMA.names
    return both[columns]


def duplicate_counts(facts: pd.DataFrame, pairs: pd.DataFrame) -> DuplicateCounts:
    """Count the copies among all decoded rows, excluded ones included, as published."""
    exact = facts.dropna(subset="pixel_hash").groupby("pixel_hash")
    sizes = exact.size()
    clusters = facts.dropna(subset="cluster").groupby("cluster")
    near = clusters["pixel_hash"].nunique() > 1
    return DuplicateCounts(
        exact_duplicate_groups=int((sizes > 1).sum()),
        exact_duplicate_surplus=int((sizes - 1).sum()),
        label_conflict_groups=int((exact["label"].nunique() > 1).sum()),
        cross_usage_duplicate_groups=int((exact["usage"].nunique() > 1).sum()),
        near_duplicate_pairs=len(pairs),
        near_duplicate_groups=int(near.sum()),
        near_label_conflict_groups=int((near & (clusters["label"].nunique() > 1)).sum()),
        cross_usage_near_groups=int((near & (clusters["usage"].nunique() > 1)).sum()),
    )
