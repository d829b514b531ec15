"""The stage `split`: train, val and test, drawn by connected components of duplicates and people, never by row."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import atomic_folder, require, write_json, write_text
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.split.assign import SPLITS, assign
from ferops.split.groups import leakage
from ferops.split.report import page
from ferops.split.shares import describe


def split(layout: Layout, params: Params) -> dict[str, Any]:
    """Write artifacts/split/assignment.parquet and reports/split/summary.json and index.html; return the summary.

    The summary adds to stage and provenance (whose split_hash is of the new assignment) what `shares.describe` finds.

    Raises:
        FeropsError: see `assign`; the manifest is missing; a split lacks a class; or the leakage check found something.
    """
    manifest = pd.read_parquet(require(layout.manifest, made_by="ferops validate"))
    assignment, _ = assign(manifest, params.split, seed=params.seed)
    joined = manifest.merge(assignment, on="image_id", how="left", validate="one_to_one")
    for part in ("split", "fold") if params.split.folds else ("split",):
        _require_no_leak(joined.dropna(subset="split"), part=part)
    _require_every_class(joined)
    with atomic_folder(layout.artifacts("split")) as folder:
        assignment.to_parquet(folder / "assignment.parquet", index=False)
    # After the write: the provenance then holds the hash of this assignment.
    summary = {"stage": "split", "provenance": provenance(layout, params).as_json()} | describe(joined, params.split)
    with atomic_folder(layout.reports("split")) as folder:
        write_json(folder / "summary.json", summary)
        write_text(folder / "index.html", page(summary))
    return summary


def _require_no_leak(joined: pd.DataFrame, *, part: str) -> None:
    leaks = leakage(joined, part=part)
    if leaks:
        raise FeropsError(
            f"{len(leaks)} clusters or subjects are in two {part}s, such as {', '.join(leaks[:3])}; no assignment was "
            "written. This is a defect of ferops: please report it with params.yaml and reports/validate/summary.json"
        )


def _require_every_class(joined: pd.DataFrame) -> None:
    counts = pd.crosstab(joined["split"], joined["label"]).reindex(index=SPLITS, columns=DEFAULT_CLASSES, fill_value=0)
    empty = [f"{name} has no {label}" for name in SPLITS for label in DEFAULT_CLASSES if counts.loc[name, label] == 0]
    if empty:
        raise FeropsError(
            f"a split lacks a class: {'; '.join(empty)}. Every split needs every class to be judged by: import more "
            "data, or raise split.test_share or split.val_share (a class with few people cannot be in three splits)"
        )
