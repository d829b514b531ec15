"""The stage on a small project: what it writes."""

from __future__ import annotations

import json
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation_project import SIZE_PX, Detector, Project, build
from ferops.classes import DEFAULT_CLASSES
from ferops.evaluation.inputs import read_data
from ferops.model_config import ModelConfig
from ferops.records.robustness import RobustnessFigures, RobustnessSummary
from ferops.robustness.conditions import everything
from ferops.robustness.images import neutral_images
from ferops.robustness.stage import flat, robustness
from ferops.training import model


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = build(tmp_path_factory.mktemp("worsened"), n_test=60, robustness={"faces": 8, "seconds": 600})
    folder = made.layout.model("baseline")
    written = ModelConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    model.save(
        folder,
        model.build("mobilenetv1", num_classes=6, size_px=SIZE_PX, seed=1),
        written.model_copy(update={"architecture": "mobilenetv1"}),
    )
    return made


@pytest.fixture(scope="module")
def summary(project: Project) -> RobustnessSummary:
    return robustness(project.layout, project.params, detector=Detector(missing=project.no_face))


def test_the_summary_is_what_was_written(project: Project, summary: RobustnessSummary) -> None:
    assert RobustnessSummary.read(project.layout.summary("robustness"), made_by="ferops robustness") == summary
    assert summary.faces == 8
    assert summary.images == 8
    assert summary.within_seconds
    assert [curve.name for curve in summary.curves] == list(everything(0.1))
    for name in summary.worst:
        assert name.replace("_", " ") in summary.verdict
    table = pd.read_parquet(project.layout.artifacts("robustness") / "answers.parquet")
    assert len(table) == 8 * 23 * 5
    fog = next(curve for curve in summary.curves if curve.name == "fog")
    right = table[table["condition"] == "fog"].groupby("severity")["right"].mean()
    assert [one.value for one in fog.accuracy] == pytest.approx(right.tolist())


def test_the_flat_numbers_have_every_condition_and_behaviour(project: Project, summary: RobustnessSummary) -> None:
    written = json.loads((project.layout.reports("robustness") / "metrics.json").read_text(encoding="utf-8"))
    assert RobustnessFigures(**written) == flat(summary)
    assert {"clean_accuracy", "fog", "hand", "passed_mirrored", "passed_upside_down", "passed_neutral"} <= set(written)
    assert written["passed_neutral"] is None  # no source has a neutral face


def test_the_page_needs_no_script_and_no_network(project: Project, summary: RobustnessSummary) -> None:
    page = (project.layout.reports("robustness") / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert summary.verdict in page
    assert page.count("<svg") == 23


def test_neutral_faces_are_those_that_no_training_has_seen(project: Project) -> None:
    data = read_data(project.layout, project.params.evaluate, DEFAULT_CLASSES, seed=1)
    assert neutral_images(project.layout, data, 5, seed=1).pixels == []
    path = project.layout.source("synthetic")
    before = path.read_bytes()
    table = pd.read_parquet(path)
    trained = set(data.everything.loc[data.everything["split"] != "test", "subject"].dropna())
    strangers = ~table["subject"].isin(trained)
    chosen = [*table[strangers].index[:3], *table[~strangers].index[:4]]
    table.loc[chosen, "label"] = "neutral"
    try:
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)
        found = neutral_images(project.layout, data, 5, seed=1)
    finally:
        path.write_bytes(before)
    assert set(found.rows["image_id"]) == set(table.loc[chosen[:3], "image_id"])
    assert len(found.pixels) == 3
