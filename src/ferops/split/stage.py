"""The stage `split`: train, val and test, drawn by connected groups of duplicates and people, never by row."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import atomic_folder, write_text
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.records.split import SplitSummary
from ferops.split.assign import COLUMNS, SPLITS, assign
from ferops.split.leakage import leakage
from ferops.split.report import split_page
from ferops.split.summary import summarise
from ferops.tables import read_parquet


def split(layout: Layout, params: Params) -> SplitSummary:
    """Write artifacts/split/assignment.parquet and reports/split/summary.json and index.html; return the summary.

    Raises:
        FeropsError: see `assign`; the manifest is missing; a split lacks a class; or the leakage check found something.
    """
    manifest = read_parquet(layout.manifest, COLUMNS, made_by="ferops validate", unique="image_id")
    assignment = assign(manifest, params.split, seed=params.seed)
    joined = manifest.merge(assignment, on="image_id", how="left", validate="one_to_one")
    for column in ("split", "fold") if params.split.folds else ("split",):
        _require_no_leak(joined.dropna(subset="split"), column=column)
    _require_every_class(joined, params.data.classes)
    with atomic_folder(layout.artifacts("split")) as folder:
        assignment.to_parquet(folder / "assignment.parquet", index=False)
    # After the write: the provenance then holds the hash of this assignment.
    summary = summarise(joined, params.split, params.data.classes, provenance(layout, params))
    with atomic_folder(layout.reports("split")) as folder:
        summary.write(folder / "summary.json")
        write_text(folder / "index.html", split_page(summary))
    return summary


def _require_no_leak(joined: pd.DataFrame, *, column: str) -> None:
    leaks = leakage(joined, column=column)
    if leaks:
        raise FeropsError(
            f"{len(leaks)} clusters or subjects are in two {column}s, such as {', '.join(leaks[:3])}; no assignment "
            "was written. This is an error in ferops: please report it with params.yaml and the summary of validate"
        )


def _require_every_class(joined: pd.DataFrame, classes: Sequence[str]) -> None:
    counts = pd.crosstab(joined["split"], joined["label"]).reindex(index=SPLITS, columns=list(classes), fill_value=0)
    empty = [f"{name} has no {label}" for name in SPLITS for label in classes if counts.loc[name, label] == 0]
    if empty:
        raise FeropsError(
            f"a split lacks a class: {'; '.join(empty)}. Every split needs images of every class: import more data, or "
            "raise split.test_share or split.val_share (a class with few people cannot be in three splits)"
        )
