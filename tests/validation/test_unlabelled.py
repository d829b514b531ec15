"""A source without expression labels beside labelled ones: counted, shown, and never trained on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets import fairface, inventory
from ferops.datasets.manifest import make_row
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.validate import ValidateSummary
from ferops.split.stage import split
from ferops.validation.stage import validate
from releases import make_folder
from sample_images import noise_png, quick_params, write_source

VALIDATION = {"min_rows_per_class": 4, "max_quarantine_share": 0.3, "label_review_folds": 0}
PARAMS = quick_params(data={"sources": ("made", "fairface")}, validation=VALIDATION)

LABELLED = 60


def labelled_rows() -> list[dict[str, Any]]:
    return [
        make_row(noise_png(i), source="made", label=DEFAULT_CLASSES[i % 6], subject=f"p{i // 6}", group_gender="male")
        for i in range(LABELLED)
    ]


def fairface_rows(folder: Path) -> list[dict[str, Any]]:
    """As published; its first image is also a labelled one of the other source, its last one cannot be decoded."""
    lines = [f"train/{i}.jpg,20-29,Female,White,True" for i in range(1, 8)]
    images = {f"train/{i}.jpg": noise_png(1000 + i if i > 1 else 0) for i in range(1, 7)} | {"train/7.jpg": b"torn"}
    table = "\n".join(["file,age,gender,race,service_test", *lines]).encode()
    _, rows = fairface.read_fairface(
        make_folder(folder, images | {"fairface_label_train.csv": table}), skipped=Counter()
    )
    return list(rows)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout(tmp_path_factory.mktemp("project"))
    write_source(layout, "fairface", fairface_rows(tmp_path_factory.mktemp("release")))
    write_source(layout, "made", labelled_rows())
    return layout


@pytest.fixture(scope="module")
def summary(layout: Layout) -> ValidateSummary:
    return validate(layout, PARAMS)


def test_unlabelled_rows_are_counted_and_kept_out(layout: Layout, summary: ValidateSummary) -> None:
    assert summary.rows_in == LABELLED + 7
    # Left out for the label that they lack, the torn one too: nothing of them is held back
    assert summary.sources["fairface"].excluded == {"unlabelled": 7}
    assert summary.sources["fairface"].quarantined == {}
    assert summary.sources["fairface"].accepted == 0
    assert summary.sources["made"].accepted == LABELLED, "an unlabelled copy takes nobody's place"
    assert sum(summary.class_counts.values()) == LABELLED
    manifest = pq.read_table(layout.manifest, columns=["source", "label", "group_gender"]).to_pandas()
    assert set(manifest["source"]) == {"made"}
    assert manifest["label"].notna().all()
    text = json.loads(layout.summary("validate").read_text(encoding="utf-8"))
    assert text["excluded"] == {"unlabelled": 7}
    page = (layout.reports("validate") / "index.html").read_text(encoding="utf-8")
    assert "unlabelled" in page


def test_no_unlabelled_row_reaches_a_split(layout: Layout, summary: ValidateSummary) -> None:
    assert summary.accepted == LABELLED
    split(layout, PARAMS)
    assignment = pd.read_parquet(layout.assignment)
    unlabelled = set(pd.read_parquet(layout.source("fairface"), columns=["image_id"])["image_id"])
    shared = {row["image_id"] for row in labelled_rows()} & unlabelled
    assert len(shared) == 1
    assert set(assignment["image_id"]) & unlabelled <= shared


def test_the_list_of_data_shows_what_has_no_label(layout: Layout) -> None:
    said = inventory.describe_data(layout)
    assert "unlabelled" in said
    assert "FairFace" in said
    (entry,) = (entry for entry in inventory.list_sources(layout) if entry.source == "fairface")
    assert entry.classes == {"unlabelled": 7}
    assert entry.groups == ("age", "gender", "race")


def test_nothing_but_unlabelled_images_is_an_error(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "project")
    write_source(layout, "fairface", fairface_rows(tmp_path / "release"))
    with pytest.raises(FeropsError, match=r"at least 4 rows|min_rows_per_class|no row"):
        validate(layout, quick_params(data={"sources": ("fairface",)}, validation=VALIDATION))


def test_unlabelled_rows_do_not_hide_how_much_is_quarantined(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    torn = [make_row(b"torn %d" % i, source="made", label="sad", group_gender=None) for i in range(40)]
    write_source(layout, "made", [*labelled_rows(), *torn])
    many = [make_row(noise_png(1000 + i), source="fairface", label=None) for i in range(200)]
    write_source(layout, "fairface", many)
    with pytest.raises(FeropsError, match=r"at most 30\s% of the rows that are not excluded.*; found: 40"):
        validate(layout, PARAMS)
    summary = ValidateSummary.read(layout.summary("validate"), made_by="ferops validate")
    assert summary.quarantine_share == 0.4
