"""The stage: what it writes adds up, and it writes nothing that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from split_manifest import make_manifest, split_settings

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.provenance import split_hash
from ferops.records.split import SplitSummary
from ferops.split import assign as assign_module
from ferops.split.stage import split
from sample_images import quick_params


def _project(tmp_path: Path, manifest: pd.DataFrame, **changes: object) -> tuple[Layout, Params]:
    layout = Layout(tmp_path)
    layout.manifest.parent.mkdir(parents=True)
    manifest.to_parquet(layout.manifest)
    layout.data_dvc.write_text(f"outs:\n- md5: {'0123' * 8}.dir\n  path: data\n", encoding="utf-8")
    return layout, quick_params(split=split_settings(**changes).model_dump())


def test_the_stage_writes_the_assignment_and_a_summary_that_adds_up(tmp_path: Path) -> None:
    manifest = make_manifest(240, people=80)
    layout, params = _project(tmp_path, manifest)
    summary = split(layout, params)
    assert SplitSummary.read(layout.summary("split"), made_by="ferops split") == summary
    assignment = pd.read_parquet(layout.assignment)
    assert list(assignment.columns) == ["image_id", "split", "group"]
    counts = manifest.merge(assignment, on="image_id").groupby(["split", "label"]).size()
    assert {(name, label): n for name, row in summary.counts.items() for label, n in row.items()} == counts.to_dict()
    assert sum(summary.sources["here"].values()) == summary.rows == 240
    assert summary.leakage == 0
    assert summary.groups == manifest["subject"].nunique()
    assert summary.provenance.split_hash == split_hash(layout) is not None


@pytest.mark.parametrize("changes", [{"official_test": True}, {"folds": 3, "test_fold": 2}])
def test_the_summary_says_what_every_mode_came_to(tmp_path: Path, changes: dict[str, object]) -> None:
    manifest = pd.concat(
        [make_manifest(300, people=150, usage="train"), make_manifest(60, people=150, usage="test", seed=1)],
        ignore_index=True,
    )
    layout, params = _project(tmp_path, manifest, **changes)
    summary = split(layout, params)
    joined = manifest.merge(pd.read_parquet(layout.assignment), on="image_id", how="left")
    strata = pd.DataFrame([one.as_json() for one in summary.strata])
    assert strata["rows"].sum() == len(manifest)
    assert strata["dropped"].sum() == summary.dropped_crossing == joined["split"].isna().sum()
    for name in ("train", "val", "test"):
        by_label = joined[joined["split"] == name]["label"].value_counts().to_dict()
        assert strata.set_index("label")[name].to_dict() == by_label
    kept = joined.dropna(subset="split")
    assert summary.shares["test"] == pytest.approx((kept["split"] == "test").mean(), abs=1e-4)
    assert sum(summary.wanted.values()) == pytest.approx(1.0)
    assert summary.together.subjects == kept["subject"].nunique()
    largest = kept["group"].value_counts()
    assert [group.rows for group in summary.largest_groups] == largest.head(10).to_list()
    assert sum(summary.group_sizes.values()) == summary.groups == len(largest)
    if "folds" in changes:
        assert summary.wanted["test"] == pytest.approx(1 / 3, abs=1e-4)
        assert {fold.fold: fold.rows for fold in summary.folds} == kept["fold"].value_counts().to_dict()
        assert summary.folds[2].rows == (kept["split"] == "test").sum()
    else:
        assert summary.dropped_crossing > 0
        assert summary.folds == ()


def test_the_page_shows_what_a_reviewer_asks_for_and_needs_nothing_else(tmp_path: Path) -> None:
    nameless = make_manifest(51, source="<there>", seed=3)
    manifest = pd.concat([make_manifest(240, people=80), nameless], ignore_index=True)
    layout, params = _project(tmp_path, manifest, folds=3, test_fold=1)
    summary = split(layout, params)
    page = (layout.reports("split") / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("</style>")[-1]))
    assert "Nothing crosses." in text
    assert "51 images name no subject" in text
    assert f"{manifest['subject'].nunique()} subjects" in text
    assert "Fold 1 is the test split here" in text
    assert summary.largest_groups[0].group in text
    assert "&lt;there&gt;" in page
    assert "<there>" not in page
    assert not re.search(r"(src|href)=.?(https?:)?//|url\(|@import", page)


def test_a_source_without_an_official_split_is_named(tmp_path: Path) -> None:
    published = [make_manifest(240, usage="train"), make_manifest(60, usage="test", seed=1)]
    layout, params = _project(
        tmp_path, pd.concat([*published, make_manifest(60, source="other", seed=2)]), official_test=True
    )
    summary = split(layout, params)
    assert summary.sources["other"]["test"] == 0
    page = (layout.reports("split") / "index.html").read_text(encoding="utf-8")
    assert "other has no official split: none of its images is tested." in page
    assert "here has no official split" not in page


def test_a_share_that_the_groups_do_not_allow_is_marked(tmp_path: Path) -> None:
    layout, params = _project(tmp_path, make_manifest(240, people=7))
    summary = split(layout, params)
    off = max(abs(summary.shares[name] - summary.wanted[name]) for name in ("train", "val", "test"))
    marked = (layout.reports("split") / "index.html").read_text(encoding="utf-8").count('class="number bad"')
    assert (off > 0.02) == (marked > 0)
    assert off > 0.02  # seven people: a fifth of the images is not to be had


def test_a_class_that_a_split_lacks_is_named(tmp_path: Path) -> None:
    manifest = make_manifest(240)
    rare = manifest["label"] == "fear"
    layout, params = _project(tmp_path, pd.concat([manifest[~rare], manifest[rare].head(1)], ignore_index=True))
    with pytest.raises(FeropsError, match=r"a split lacks a class: .*(train|val|test) has no fear"):
        split(layout, params)
    assert not layout.assignment.exists()


def test_a_leak_stops_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, params = _project(tmp_path, make_manifest(240, people=40))
    monkeypatch.setattr(
        assign_module, "connected_groups", lambda rows, **_: rows["image_id"].to_numpy(dtype=object)
    )  # forgets people
    with pytest.raises(FeropsError, match=r"clusters or subjects are in two splits, such as subject p"):
        split(layout, params)
    assert not layout.assignment.exists()


def test_without_a_manifest_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="It is made by: ferops validate"):
        split(Layout(tmp_path), quick_params())
