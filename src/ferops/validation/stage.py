"""The stage `validate`: raw rows -> the accepted manifest, the quarantine, and a verdict on the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import atomic_folder, write_json, write_text
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.validation import near_duplicates_page as near_page
from ferops.validation import page
from ferops.validation.connected import components
from ferops.validation.duplicates import NEAR_PAIRS_SCHEMA, cluster_names, describe, duplicate_counts, find_near
from ferops.validation.gate import Verdict, judge
from ferops.validation.labels import Review, review
from ferops.validation.measure import measure_sources
from ferops.validation.selection import relabel, takes_part
from ferops.validation.triage import counts, triage

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


def validate(layout: Layout, params: Params) -> dict[str, Any]:
    """Write artifacts/validate and reports/validate (docs/files.md) and return the summary.

    The summary adds to stage and provenance: the counts of `triage.counts` and `duplicates.duplicate_counts`,
    blank_images, quarantine_share, sources (the former per source, with usage as published), suspected_label_errors and
    label_review (folds, rows, accuracy, chance), both None where there was no review, and expectations (suite, wanted,
    observed, success).

    Raises:
        FeropsError: a source is missing or malformed (nothing is written); or an expectation failed: the reports, the
            quarantine and the Great Expectations context are written then, the manifest is not.
    """
    stamp = provenance(layout, params).as_json()
    raw, measured, thumbnails = measure_sources(layout, params.data.sources, params.validation)
    raw = relabel(raw, params.data)
    # What a renderer knows plays no part in the judgement; it travels on in the manifest.
    judged = [name for name in raw.column_names if not name.startswith("truth_")]
    facts = raw.select(judged).to_pandas().join(measured)
    facts["takes_part"] = takes_part(facts["usage"], params.data)
    pairs = find_near(facts, thumbnails, params.validation)
    measured["cluster"] = facts["cluster"] = cluster_names(facts["pixel_hash"], pairs)
    # Rows that are left out or held back still tie people together; blank images, alike by nature, tie nobody.
    tying = facts[facts["grey_std"] >= params.validation.blank_std]
    measured["connected"] = pd.Series(components(tying), index=tying.index, dtype=object).reindex(facts.index)
    result = triage(facts, params.validation, params.data.classes)
    accepted = (result["outcome"] == "accepted").to_numpy()
    with atomic_folder(layout.artifacts("validate")) as artifacts, atomic_folder(layout.reports("validate")) as reports:
        verdicts = judge(
            _incoming_frame(facts, result),
            _accepted_frame(facts[accepted]),
            params.validation,
            folder=artifacts,
            data_docs=reports / "data_docs",
        )
        failed = [verdict for verdict in verdicts if not verdict.success]
        # A manifest that is not written needs no review.
        found = None if failed else _review(layout, facts[accepted], params)
        summary = {"stage": "validate", "provenance": stamp} | _summary(
            facts, result, pairs, verdicts, found, params.data.classes
        )
        _write_quarantine(artifacts / "quarantine.parquet", facts, result)
        described = describe(facts, pairs)
        pq.write_table(
            pa.Table.from_pandas(described, schema=NEAR_PAIRS_SCHEMA, preserve_index=False),
            artifacts / "near_pairs.parquet",
        )
        if found is not None:
            found.table.to_parquet(artifacts / "label_review.parquet", index=False)
        if not failed:
            _write_manifest(artifacts / "manifest.parquet", raw, measured, accepted)
        write_json(reports / "summary.json", summary)
        write_text(reports / "index.html", page.render(layout, summary, facts, result, found))
        write_text(reports / "near_duplicates.html", near_page.render(layout, summary, described, params.validation))
    if failed:
        raise FeropsError(_explain(failed, docs=layout.reports("validate") / "data_docs" / "index.html"))
    return summary


def _incoming_frame(facts: pd.DataFrame, result: pd.DataFrame) -> pd.DataFrame:
    held_back = (result["outcome"] == "quarantined").astype(object)
    # Excluded rows were not judged: a large source without labels must not make the share of the others look small
    return facts.assign(held_back=held_back.where(result["outcome"] != "excluded", None))


def _accepted_frame(facts: pd.DataFrame) -> pd.DataFrame:
    sides = facts[["width", "height"]]
    return facts.assign(shorter_px=sides.min(axis=1), longer_px=sides.max(axis=1)).reset_index(drop=True)


def _review(layout: Layout, accepted: pd.DataFrame, params: Params) -> Review | None:
    if params.validation.label_review_folds == 0:
        return None
    return review(layout, accepted, params.validation, seed=params.seed)


def _summary(  # noqa: PLR0917
    facts: pd.DataFrame,
    result: pd.DataFrame,
    pairs: pd.DataFrame,
    verdicts: list[Verdict],
    found: Review | None,
    classes: Sequence[str],
) -> dict[str, Any]:
    total = counts(facts, result, classes)
    judged = total["accepted"] + sum(total["quarantined"].values())
    per_source = {
        str(source): counts(facts.loc[index], result.loc[index], classes)
        | {"usage": {str(k): int(v) for k, v in facts.loc[index, "usage"].value_counts().sort_index().items()}}
        for source, index in facts.groupby("source", sort=False).groups.items()
    }
    return {
        **total,
        **duplicate_counts(facts, pairs),
        "blank_images": total["quarantined"].get("blank", 0),
        "quarantine_share": round(sum(total["quarantined"].values()) / max(judged, 1), 4),
        "suspected_label_errors": None if found is None else int(found.table["suspected"].sum()),
        "label_review": None if found is None else found.facts(),
        "sources": per_source,
        "expectations": [asdict(verdict) for verdict in verdicts],
    }


def _write_manifest(path: Path, raw: pa.Table, measured: pd.DataFrame, accepted: Any) -> None:
    columns = {
        name: pa.array(measured[name]) for name in ("cluster", "connected", "pixel_hash", "brightness", "sharpness")
    }
    table = raw
    for name, values in columns.items():
        table = table.append_column(name, values)
    pq.write_table(table.filter(pa.array(accepted)), path, compression="zstd")


def _write_quarantine(path: Path, facts: pd.DataFrame, result: pd.DataFrame) -> None:
    held = facts.join(result)[result["outcome"] == "quarantined"]
    columns = held[QUARANTINE_SCHEMA.names]
    pq.write_table(pa.Table.from_pandas(columns, schema=QUARANTINE_SCHEMA, preserve_index=False), path)


def _explain(failed: list[Verdict], *, docs: Path) -> str:
    lines = [f"  wanted: {verdict.wanted}; found: {verdict.observed}" for verdict in failed]
    return "\n".join(
        [
            f"the data does not meet {len(failed)} expectation(s), so no manifest was written:",
            *lines,
            f"See {docs} and the index.html beside its folder. Mend the data and import it again, or change the block "
            "`validate` of params.yaml",
        ]
    )
