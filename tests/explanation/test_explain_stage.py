"""The stage on a small project: what it writes, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation_project import SIZE_PX, Project, build
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.evaluation.inputs import read_data
from ferops.explanation.sample import draw
from ferops.explanation.stage import explain
from ferops.model_config import ModelConfig, read_training_config
from ferops.records.explain import ExplainSummary
from ferops.training import model


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = build(tmp_path_factory.mktemp("explained"), n_test=120)
    made.evaluate()
    folder = made.layout.model("candidate")
    written = ModelConfig.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    config = written.model_copy(update={"architecture": "resnet18"})
    model.save(folder, model.build("resnet18", num_classes=6, size_px=SIZE_PX, seed=1), config)
    assert read_training_config(folder) == config
    return made


@pytest.fixture(scope="module")
def params(project: Project) -> Params:
    few = project.params.explain.model_copy(update={"map_faces": 40, "heat_faces": 10})
    return project.params.model_copy(update={"explain": few})


@pytest.fixture(scope="module")
def summary(project: Project, params: Params) -> ExplainSummary:
    return explain(project.layout, params)


def test_the_summary_is_what_was_written(project: Project, summary: ExplainSummary) -> None:
    assert ExplainSummary.read(project.layout.summary("explain"), made_by="ferops explain") == summary
    assert summary.test_faces == len(project.labels)
    assert summary.faces == 40
    assert [one.dimensions for one in summary.maps[:2]] == [2, 3]
    assert summary.heat is not None
    assert summary.heat.faces == 10
    assert list(summary.rankings) == list(DEFAULT_CLASSES)


def test_the_page_needs_no_script_and_no_network(project: Project, summary: ExplainSummary) -> None:
    page = (project.layout.reports("explain") / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#|map\.html)", page)
    assert summary.verdict in page
    for name in DEFAULT_CLASSES:
        assert f"<h3>{name}</h3>" in page


def test_the_map_has_every_face_in_both_dimensions(project: Project, summary: ExplainSummary) -> None:
    page = (project.layout.reports("explain") / "map.html").read_text(encoding="utf-8")
    found = re.search(r"const plots = (.*?), faces = (\[.*?\]), captions = (\[.*?\]);", page)
    assert found
    plots, faces, captions = (json.loads(each) for each in found.groups())
    assert len(faces) == len(captions) == summary.faces
    for name, axes in (("t-sne-2", "xy"), ("t-sne-3", "xyz")):
        for colouring in ("label", "answer", "right or wrong", "source", "skin tone", "age"):
            traces = [trace for trace in plots[name]["data"] if trace["meta"] == colouring]
            assert sorted(row for trace in traces for row in trace["customdata"]) == list(range(summary.faces))
            assert all(len(trace[axis]) == len(trace["customdata"]) for trace in traces for axis in axes)
    assert (project.layout.reports("explain") / "plotly.min.js").stat().st_size > 1e6
    table = pd.read_parquet(project.layout.artifacts("explain") / "map.parquet")
    assert list(table)[:6] == ["image_id", "x2", "y2", "x3", "y3", "z3"]
    assert len(table) == summary.faces


def test_every_class_has_its_place_in_a_sample(project: Project) -> None:
    data = read_data(project.layout, project.params.evaluate, DEFAULT_CLASSES, seed=1)
    answers = np.eye(6)[data.test.labels]
    few = draw(data, answers, 18, seed=1)
    counts = np.bincount(few.labels, minlength=6)
    available = np.bincount(data.test.labels, minlength=6)
    assert len(few) == 18
    assert counts.min() >= min(2, available.min())
    assert few.index["image_id"].is_unique
    everything = draw(data, answers, 10_000, seed=1)
    assert len(everything) == len(data.faces)
    assert np.array_equal(everything.faces, data.faces)


def test_answers_to_other_faces_are_refused(project: Project, params: Params) -> None:
    path = project.layout.artifacts("evaluate") / "predictions.parquet"
    before = path.read_bytes()
    try:
        pd.read_parquet(path).iloc[1:].to_parquet(path)
        with pytest.raises(FeropsError, match="answers to other faces"):
            explain(project.layout, params)
        path.unlink()
        with pytest.raises(FeropsError, match="ferops evaluate"):
            explain(project.layout, params)
    finally:
        Path(path).write_bytes(before)
