"""An ensemble: one network that answers the mean of its members' calibrated probabilities, exported like any other."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax

from blobs import make_project
from exports import change
from ferops.errors import FeropsError
from ferops.export import stage
from ferops.export.ensemble import ensemble
from ferops.export.stage import export
from ferops.export.temperature import fit_temperature
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig, read_model_config
from ferops.provenance import data_version
from ferops.records.train import TrainHeadline, TrainSummary, read_history
from ferops.training import data, model
from ferops.training.evaluator import predict
from ferops.training.precision import Precision
from ferops.training.teacher import read_lesson
from taught import write_taught

PLAIN = Precision(torch.device("cpu"), None)
MEMBERS = {  # name -> architecture, seed, sharpness of its answers, grey, mean
    "sure": ("test_resnet", 1, 60.0, False, (0.4, 0.5, 0.6)),
    "shy": ("test_resnet", 2, 2.0, True, (0.5, 0.5, 0.5)),
    "odd": ("test_efficientnet", 3, 20.0, False, (0.3, 0.3, 0.3)),
}


def write_member(layout: Layout, name: str) -> None:
    architecture, seed, sharpness, grayscale, mean = MEMBERS[name]
    write_taught(layout, name, architecture, seed=seed, sharpness=sharpness, grayscale=grayscale, mean=mean)


@pytest.fixture(scope="module")
def made(tmp_path_factory, params) -> Layout:
    """A project with the three members, and the ensemble of them, `trio`."""
    layout = make_project(tmp_path_factory.mktemp("trio"))
    for name in MEMBERS:
        write_member(layout, name)
    ensemble(layout, params, "trio", list(MEMBERS))
    return layout


@pytest.fixture
def copy(made, tmp_path) -> Layout:
    shutil.copytree(made.root, tmp_path / "copy")
    return Layout(tmp_path / "copy")


def expected(layout: Layout, split: str) -> np.ndarray:
    """The mean of calibrated probabilities, from the members' own networks."""
    faces, sources = {each: data.read_faces(layout, each) for each in ("val", split)}, data.read_sources(layout, "val")
    found = []
    for name in MEMBERS:
        net, _ = model.load(layout.model(name))
        logits = {each: predict(net, faces[each].images, precision=PLAIN) for each in faces}
        found.append(softmax(logits[split] / fit_temperature(logits["val"], faces["val"].labels, sources), axis=1))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("split", ["val", "test"])
def test_it_answers_the_mean_of_calibrated_probabilities(made, split):
    wanted, faces = expected(made, split), data.read_faces(made, split)
    net, config = model.load(made.model("trio"))
    saved = np.load(made.model("trio") / f"{split}_logits.npy")
    assert_allclose(softmax(saved, axis=1), wanted, atol=1e-5)
    assert_allclose(predict(net, faces.images, precision=PLAIN), saved, atol=1e-4)
    assert config.temperature == 1.0
    plain = [np.load(made.model(name) / f"{split}_logits.npy") for name in MEMBERS]
    assert np.abs(softmax(plain, axis=2).mean(axis=0) - wanted).max() > 0.1  # as calibration makes a difference


def test_its_config_names_the_members_and_joins_their_terms(made):
    config = read_model_config(made.model("trio"), ModelConfig)
    assert [(one.name, one.architecture) for one in config.members] == [(n, MEMBERS[n][0]) for n in MEMBERS]
    assert len({one.sha256 for one in config.members}) == 3
    assert config.architecture == "ensemble of test_resnet, test_resnet, test_efficientnet"
    assert config.parameters == sum(read_model_config(made.model(name), ModelConfig).parameters for name in MEMBERS)
    assert config.licence == "Apache-2.0; weights of test_resnet; weights of test_efficientnet"
    assert config.provenance.data_version == data_version(made)


def test_it_leaves_what_a_training_leaves(made):
    reports = made.reports("train") / "trio"
    summary = TrainSummary.read(reports / "summary.json", made_by="ferops ensemble")
    labels = data.read_faces(made, "val").labels
    accuracy = (expected(made, "val").argmax(axis=1) == labels).mean()
    assert (summary.model, summary.epochs, summary.val_accuracy) == ("trio", 0, pytest.approx(accuracy))
    assert TrainHeadline.read(reports / "metrics.json", made_by="ferops ensemble").val_accuracy == summary.val_accuracy
    assert (reports / "confusion.png").stat().st_size > 1000
    assert read_history(made.model("trio") / "history.json", made_by="ferops ensemble") == ()


def test_it_teaches(made, params):
    pupil = params.models["baseline"].model_copy(update={"learns_from": "artifacts/train/trio"})
    lesson = read_lesson(made, params.model_copy(update={"models": {"baseline": pupil}}), "baseline")
    assert lesson is not None
    pixels = model.ExpressionNet.pixels(torch.from_numpy(np.array(data.read_faces(made, "val").images)))
    assert_allclose(lesson.teacher.probabilities(pixels, precision=PLAIN), expected(made, "val"), atol=1e-5)


@pytest.mark.slow
def test_it_is_exported_like_a_model(copy, params, monkeypatch):
    """One graph from bytes to the logarithm of probabilities, FP32 and INT8, with a temperature of its own."""
    table = stage.latency.table
    monkeypatch.setattr(stage.latency, "table", lambda *files: table(*files, budget_s=0.0))
    ensemble(copy, params, "duo", ["sure", "shy"])
    chosen = params.export.model_copy(update={"model": "duo", "max_disagreement": 0.5})
    summary = export(copy, params.model_copy(update={"export": chosen}))
    assert summary.parity["model.onnx"].max_abs_difference < 1e-3
    assert summary.parity["model-int8.onnx"].changed_share < 0.3
    config = read_model_config(copy.exported, ExportConfig)
    assert [one.name for one in config.members] == ["sure", "shy"]
    assert summary.size_mb["model-int8.onnx"] < 0.45 * summary.size_mb["model.onnx"]
    graph = onnx.load(copy.exported / "model-int8.onnx").graph
    makers = {output: node.op_type for node in graph.node for output in node.output}
    classifiers = [node for node in graph.node if node.op_type == "Gemm"]
    assert len(classifiers) == 2
    assert all(makers[node.input[0]] != "DequantizeLinear" for node in classifiers)
    for node in graph.node:  # nothing is rounded to bytes once there are logits
        if node.op_type in {"LogSoftmax", "ReduceLogSumExp", "Exp", "Log"}:
            assert makers.get(node.input[0]) != "DequantizeLinear"


@pytest.mark.parametrize(
    ("name", "members", "message"),
    [
        ("candidate", ["sure", "shy"], "candidate is an entry of `models`"),
        ("../duo", ["sure", "shy"], r"cannot be called '\.\./duo'"),
        ("duo", ["sure"], "needs two different models or more, found sure"),
        ("duo", ["sure", "sure"], "needs two different models or more"),
        ("sure", ["sure", "shy"], "needs two different models or more"),
        ("duo", ["sure", "gone"], r"train/gone/config\.json does not exist.*ferops train NAME"),
        ("duo", ["sure", "trio"], "trio is an ensemble itself. Name its members instead: sure, shy, odd"),
    ],
)
def test_names_that_cannot_be_used(made, params, name, members, message):
    with pytest.raises(FeropsError, match=message):
        ensemble(made, params, name, members)
    assert not (made.artifacts("train") / "duo").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classes": ("sad", "happy", "anger", "fear", "disgust", "surprised")},
            "other classes than the project: sad",
        ),
        ({"size_px": 64}, r"another size in pixels than the project: 64 instead of 32"),
        ({"provenance": {"data_version": "e" * 32}}, "another data version than the project: eeee"),
        ({"provenance": {"split_hash": "b" * 16}}, "another split than the project: bbbb.*ferops train shy"),
    ],
)
def test_members_that_do_not_fit(copy, params, changes, message):
    change(copy.model("shy"), **changes)
    with pytest.raises(FeropsError, match=message):
        ensemble(copy, params, "duo", ["sure", "shy"])


def test_answers_of_other_faces(copy, params):
    path = copy.model("shy") / "val_logits.npy"
    np.save(path, np.load(path)[1:])
    with pytest.raises(FeropsError, match=r"logits of shape \(29, 6\).*the val split needs \(30, 6\)"):
        ensemble(copy, params, "duo", ["sure", "shy"])


def test_a_damaged_ensemble(copy):
    change(copy.model("trio"), members=[])
    with pytest.raises(FeropsError, match="no backbone 'ensemble of test_resnet"):
        model.load(copy.model("trio"))
