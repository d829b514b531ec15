"""The stage `validate`: the raw rows -> an accepted manifest, a quarantine with one reason per row, and reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import atomic_folder, write_text
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.records.validate import ExpectationResult, SourceCounts, ValidateSummary
from ferops.validation.checkpoints import run_checkpoints
from ferops.validation.connected import connected_groups
from ferops.validation.duplicates import (
    NEAR_PAIRS_SCHEMA,
    cluster_names,
    describe_pairs,
    duplicate_counts,
    find_near_duplicates,
)
from ferops.validation.label_review import review_labels
from ferops.validation.measure import measure_sources
from ferops.validation.near_duplicates_report import near_duplicates_page
from ferops.validation.quarantine import assign_outcomes, count_rows
from ferops.validation.report import validate_page
from ferops.validation.selection import map_labels, takes_part

MEASURED_COLUMNS = ("cluster", "connected", "pixel_hash", "brightness", "sharpness")
"""What the manifest adds to the raw columns."""

QUARANTINE_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("image_id", pa.string()),
        ("source", pa.string()),
        ("label", pa.string()),
        ("usage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)


def validate(layout: Layout, params: Params) -> ValidateSummary:
    """Write artifacts/validate and reports/validate (docs/files.md) and return the summary.

    Raises:
        FeropsError: a source is missing or malformed (nothing is written); or an expectation failed: the reports, the
            quarantine and the Great Expectations context are written then, the manifest is not.
    """
    stamp = provenance(layout, params)
    settings, classes = params.validation, params.data.classes
    measured = measure_sources(layout, params.data.sources, settings)
    raw = map_labels(measured.raw, params.data)
    # What a renderer knows decides nothing here; it travels on in the manifest.
    columns = [name for name in raw.column_names if not name.startswith("truth_")]
    facts = raw.select(columns).to_pandas().join(measured.facts)
    facts["takes_part"] = takes_part(facts["usage"], params.data)
    pairs = find_near_duplicates(facts, measured.thumbnails, settings)
    facts["cluster"] = cluster_names(facts["pixel_hash"], pairs)
    # Excluded and quarantined rows still connect people; blank images, alike by nature, connect nobody.
    connecting = facts[facts["grey_std"] >= settings.blank_std]
    connected = pd.Series(connected_groups(connecting), index=connecting.index, dtype=object)
    facts["connected"] = connected.reindex(facts.index)
    result = assign_outcomes(facts, settings, classes)
    accepted = facts[result["outcome"] == "accepted"]
    with (
        atomic_folder(context_folder(layout)) as context,
        atomic_folder(layout.artifacts("validate")) as artifacts,
        atomic_folder(layout.reports("validate")) as reports,
    ):
        expectations = run_checkpoints(
            _incoming_frame(facts, result),
            _accepted_frame(accepted),
            settings,
            classes,
            folder=context,
            data_docs=reports / "data_docs",
        )
        failed = [one for one in expectations if not one.success]
        review = None
        if not failed and settings.label_review_folds:  # a manifest that is not written needs no review
            review = review_labels(accepted, measured.views, settings, classes, seed=params.seed)
        counts = count_rows(facts, result, classes)
        excluded = sum(counts.excluded.values()) + sum(counts.excluded_by_usage.values())
        summary = ValidateSummary(
            provenance=stamp,
            **dict(counts),
            **dict(duplicate_counts(facts, pairs)),
            blank_images=counts.quarantined.get("blank", 0),
            quarantine_share=round(sum(counts.quarantined.values()) / max(len(facts) - excluded, 1), 4),
            suspected_label_errors=None if review is None else int(review.table["suspected"].sum()),
            label_review=None if review is None else review.record,
            sources=_counts_by_source(facts, result, classes),
            expectations=expectations,
        )
        described = describe_pairs(facts, pairs)
        _write(artifacts / "near_pairs.parquet", described, NEAR_PAIRS_SCHEMA)
        quarantined = facts.join(result)[result["outcome"] == "quarantined"]
        _write(artifacts / "quarantine.parquet", quarantined[QUARANTINE_SCHEMA.names], QUARANTINE_SCHEMA)
        if review is not None:
            review.table.to_parquet(artifacts / "label_review.parquet", index=False)
        if not failed:
            _write_manifest(artifacts / "manifest.parquet", raw, facts, accepted.index)
        summary.write(reports / "summary.json")
        write_text(reports / "index.html", validate_page(layout, summary, facts, result, review))
        write_text(reports / "near_duplicates.html", near_duplicates_page(layout, summary, described, settings))
    if failed:
        raise FeropsError(_explain(failed, docs=layout.reports("validate") / "index.html"))
    return summary


def context_folder(layout: Layout) -> Path:
    """Return where Great Expectations keeps its context: no output, for it has other ids and times in each run."""
    return layout.state / "great_expectations"


def _incoming_frame(facts: pd.DataFrame, result: pd.DataFrame) -> pd.DataFrame:
    quarantined = (result["outcome"] == "quarantined").astype(object)
    # Excluded rows were not checked: a large source without labels must not make the share of the others look small
    return facts.assign(quarantined=quarantined.where(result["outcome"] != "excluded", None))


def _accepted_frame(facts: pd.DataFrame) -> pd.DataFrame:
    sides = facts[["width", "height"]]
    return facts.assign(shorter_px=sides.min(axis=1), longer_px=sides.max(axis=1)).reset_index(drop=True)


def _counts_by_source(facts: pd.DataFrame, result: pd.DataFrame, classes: Sequence[str]) -> dict[str, SourceCounts]:
    found = {}
    for source, rows in facts.groupby("source", sort=False):
        usage = {str(part): int(count) for part, count in rows["usage"].value_counts().sort_index().items()}
        found[str(source)] = SourceCounts(**dict(count_rows(rows, result.loc[rows.index], classes)), usage=usage)
    return found


def _write_manifest(path: Path, raw: pa.Table, facts: pd.DataFrame, accepted: pd.Index[Any]) -> None:
    for name in MEASURED_COLUMNS:
        raw = raw.append_column(name, pa.array(facts[name]))
    pq.write_table(raw.filter(pa.array(facts.index.isin(accepted))), path, compression="zstd")


def _write(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)


def _explain(failed: list[ExpectationResult], *, docs: Path) -> str:
    lines = [f"  wanted: {one.wanted}; found: {one.observed}" for one in failed]
    return "\n".join(
        [
            f"the data does not meet {len(failed)} expectation(s), so no manifest was written:",
            *lines,
            f"See {docs}. Correct the data and import it again, or change the block `validate` of params.yaml",
        ]
    )
