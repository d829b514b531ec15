from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.manifest import make_row
from ferops.layout import Layout
from ferops.records.validate import ValidateSummary
from ferops.split import stage as split_stage
from ferops.validation.near_duplicates_report import DOUBTFUL, TYPICAL, choose_pairs
from ferops.validation.stage import validate
from sample_images import encoded, quick_params, write_source
from scenes import edited, scene

SETTINGS: dict[str, Any] = {
    "min_rows_per_class": 4,
    "max_quarantine_share": 0.3,
    "near_duplicates": "group",
    "near_threshold": 0.95,
    "near_label_conflicts": "quarantine",
}


def _rows() -> list[dict[str, Any]]:
    """60 scenes in "train"; altered copies in "test": of 3 with the same label, of 1 with another, of 1 left out."""
    rows = [make_row(encoded(scene(i)), source="made", label=DEFAULT_CLASSES[i % 6], usage="train") for i in range(60)]
    for i, how in ((0, "mirrored"), (1, "cropped"), (2, "recompressed")):
        rows.append(make_row(encoded(edited(scene(i), how)), source="made", label=DEFAULT_CLASSES[i], usage="test"))
    rows.append(make_row(encoded(edited(scene(3), "larger")), source="made", label="anger", usage="test"))
    rows.append(make_row(encoded(edited(scene(4), "turned")), source="made", label=None, usage="test"))
    return rows


def _run(folder: Path, **settings: Any) -> tuple[Layout, ValidateSummary]:
    layout = Layout(folder)
    write_source(layout, "made", _rows())
    params = quick_params(data={"sources": ("made",)}, validation=SETTINGS | {"label_review_folds": 0} | settings)
    return layout, validate(layout, params)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, ValidateSummary]:
    return _run(tmp_path_factory.mktemp("grouped"))


def test_copies_share_a_cluster_and_both_stay(grouped: tuple[Layout, ValidateSummary]) -> None:
    layout, summary = grouped
    rows = _rows()
    assert (summary.near_duplicate_pairs, summary.near_duplicate_groups) == (5, 5)
    assert (summary.near_label_conflict_groups, summary.cross_usage_near_groups) == (1, 5)
    assert (summary.exact_duplicate_groups, summary.label_conflict_groups) == (0, 0)
    assert summary.quarantined == {"near_label_conflict": 2}
    manifest = pd.read_parquet(layout.manifest).set_index("image_id")
    cluster = manifest["cluster"]
    for i in range(3):
        ends = manifest.loc[[rows[i]["image_id"], rows[60 + i]["image_id"]]]
        assert ends["cluster"].nunique() == 1
        assert ends["cluster"].iloc[0] == ends["pixel_hash"].min()
    assert len(cluster) == 62
    assert cluster.nunique() == 59
    assert manifest["pixel_hash"].is_unique


def test_the_pairs_are_written_down(grouped: tuple[Layout, ValidateSummary]) -> None:
    layout, _ = grouped
    rows = _rows()
    pairs = pd.read_parquet(layout.artifacts("validate") / "near_pairs.parquet")
    assert [(pair.row_a, pair.row_b) for pair in pairs.itertuples()] == [(i, 60 + i) for i in range(5)]
    assert list(pairs["image_id_a"]) == [row["image_id"] for row in rows[:5]]
    assert list(pairs["mirrored"]) == [True, False, False, False, False]
    assert list(pairs["usage_b"]) == ["test"] * 5
    assert pairs["label_b"][3] == "anger"
    assert pd.isna(pairs["label_b"][4])


def test_no_split_tears_a_pair_apart(grouped: tuple[Layout, ValidateSummary]) -> None:
    layout, _ = grouped
    params = quick_params(data={"sources": ("made",)})
    split_stage.split(layout, params)
    manifest = pd.read_parquet(layout.manifest)
    split = manifest.merge(pd.read_parquet(layout.assignment), on="image_id").groupby("cluster")["split"]
    assert (split.size() == 2).sum() == 3
    assert split.nunique().max() == 1


def test_one_copy_is_kept_on_request(tmp_path: Path) -> None:
    layout, summary = _run(tmp_path, near_duplicates="quarantine", near_label_conflicts="keep")
    assert summary.quarantined == {"near_duplicate": 4}
    kept = set(pd.read_parquet(layout.manifest)["image_id"])
    assert kept == {row["image_id"] for row in _rows()[:60]}


def test_nothing_is_searched_on_request(tmp_path: Path) -> None:
    layout, summary = _run(tmp_path, near_duplicates="ignore")
    assert summary.near_duplicate_pairs == 0
    assert summary.accepted == 64
    assert len(pd.read_parquet(layout.artifacts("validate") / "near_pairs.parquet")) == 0
    page = (layout.reports("validate") / "near_duplicates.html").read_text(encoding="utf-8")
    assert "Near-duplicates were not searched" in page


def test_the_page_shows_each_pair_and_marks_what_matters(grouped: tuple[Layout, ValidateSummary]) -> None:
    layout, _ = grouped
    page = (layout.reports("validate") / "near_duplicates.html").read_text(encoding="utf-8")
    assert "://" not in page
    assert page.count('src="data:image/png;base64,') == 10
    assert page.count("labels differ</span>") == 1
    assert page.count("crosses official splits</span>") == 5
    assert page.count("<span>mirrored</span>") == 1
    assert "made row 63" in page
    pairs = ValidateSummary.read(layout.summary("validate"), made_by="ferops validate").near_duplicate_pairs
    assert f"<b>{pairs}</b>pairs" in page


def test_many_pairs_are_cut_to_the_doubtful_ones_and_a_sample() -> None:
    values = np.random.default_rng(0).permutation(np.linspace(0.95, 1, 5000))
    chosen = choose_pairs(pd.DataFrame({"similarity": values}))["similarity"]
    assert len(chosen) == DOUBTFUL + TYPICAL
    assert chosen.is_monotonic_increasing
    assert list(chosen[:DOUBTFUL]) == sorted(values)[:DOUBTFUL]
    assert chosen.iloc[-1] == 1
    assert chosen.iloc[DOUBTFUL:].diff().max() < 0.0011
    few = pd.DataFrame({"similarity": [0.99, 0.95]})
    assert list(choose_pairs(few)["similarity"]) == [0.95, 0.99]
