from __future__ import annotations

import shutil

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.export import stage
from ferops.export.calibration import probabilities
from ferops.export.conformal import set_threshold
from ferops.export.runtime import Classifier
from ferops.export.stage import compare, export
from ferops.export.temperature import fit_temperature
from ferops.layout import Layout
from ferops.records.export import ExportSummary, Parity
from ferops.training import data, model


@pytest.fixture(scope="module")
def summary(project, params):
    """The stage as it runs, with less patience in the timing."""
    with pytest.MonkeyPatch.context() as patch:
        table = stage.latency.table
        patch.setattr(stage.latency, "table", lambda *files: table(*files, budget_s=0.01))
        return export(project, params)


def with_export(params: Params, **changes) -> Params:
    return params.model_copy(update={"export": params.export.model_copy(update=changes)})


def average_colour(layout: Layout, _: Params) -> np.ndarray:
    """Images without contrast: calibrated on them, the ranges are far too narrow and the file is useless."""
    _, trained = model.load(layout.model("candidate"))
    return np.full((8, 32, 32, 3), np.round(255 * np.array(trained.mean)), np.uint8)


@pytest.fixture
def copy(project, tmp_path) -> Layout:
    """The project, to damage."""
    shutil.copytree(project.root, tmp_path / "copy", ignore=shutil.ignore_patterns("export"))
    return Layout(tmp_path / "copy")


def test_files_and_summary(project, summary):
    assert sorted(path.name for path in project.exported.iterdir()) == [
        "config.json",
        "model-int8.onnx",
        "model.onnx",
    ]
    assert ExportSummary.read(project.summary("export"), made_by="ferops export") == summary
    net, _ = model.load(project.model("candidate"))
    parameters_mb = model.count_parameters(net) / 1e6
    assert summary.size_mb["model.onnx"] == pytest.approx(4 * parameters_mb, rel=0.05)
    assert summary.size_mb["model-int8.onnx"] == pytest.approx(parameters_mb, rel=0.2)
    rows = {(row.runtime, row.precision) for row in summary.speed}
    assert rows == {
        ("torch", "fp32"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    }
    assert all(row.latency_ms > 0 and row.images_per_s > 0 for row in summary.speed)


@pytest.mark.usefixtures("summary")
def test_the_config_is_the_candidates_and_the_predictors(project, params):
    config = Classifier(project.exported).config
    _, trained = model.load(project.model("candidate"))
    assert (config.mean, config.std, config.size_px) == (trained.mean, trained.std, 32)
    assert config.served == "model-int8.onnx"
    assert (config.min_confidence, config.margin, config.choose, config.low_confidence) == (
        params.preprocess.min_confidence,
        params.preprocess.margin,
        params.preprocess.choose,
        params.evaluate.low_confidence,
    )


@pytest.mark.usefixtures("summary")
@pytest.mark.parametrize("count", [1, 5])
def test_fp32_file_computes_what_the_weights_do(project, count):
    """In a second runtime than the served one, on other faces than the stage looked at, at two batch sizes."""
    net, _ = model.load(project.model("candidate"))
    faces = np.array(data.read_faces(project, "test").images[:count])
    session = onnxruntime.InferenceSession(project.exported / "model.onnx")
    (found,) = session.run(["logits"], {"faces": faces})
    with torch.inference_mode():
        assert np.allclose(found, net(torch.from_numpy(faces)).numpy(), atol=1e-3)


@pytest.mark.usefixtures("summary")
def test_int8_file_is_quantised_where_it_should_be(project):
    graph = onnx.load(project.exported / "model-int8.onnx").graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    producers = {output: node for node in graph.node for output in node.output}
    net, _ = model.load(project.model("candidate"))
    assert len(convolutions) == sum(isinstance(module, torch.nn.Conv2d) for module in net.modules())
    for node in convolutions:
        dequantize = producers[node.input[1]]
        assert dequantize.op_type == "DequantizeLinear"
        assert weights[dequantize.input[0]].data_type == onnx.TensorProto.INT8
        assert len(weights[dequantize.input[1]].dims) == 1  # a scale per output channel
    # From the pixels to the first quantisation there is only arithmetic in float
    assert producers[producers[producers[convolutions[0].input[0]].input[0]].input[0]].op_type == "Div"
    # Neither the mean of the last features nor the classifier is rounded
    classifier = producers["logits"]
    assert classifier.op_type == "Gemm"
    assert classifier.input[1] in weights
    (mean,) = (node for node in graph.node if node.op_type == "ReduceMean")
    assert producers[mean.input[0]].op_type == "Relu"


def test_parity_is_what_the_files_give(project, summary):
    validation = data.read_faces(project, "val")
    trained = np.load(project.model("candidate") / "val_logits.npy")
    found = Classifier(project.exported).logits(validation.images)
    parity = summary.parity
    assert parity["model.onnx"].max_abs_difference < 1e-3
    assert parity["model.onnx"].changed_share == 0.0
    assert parity["model-int8.onnx"].max_abs_difference > 1e-4
    assert parity["model-int8.onnx"].max_abs_difference == pytest.approx(np.abs(found - trained).max(), abs=1e-5)
    assert summary.temperature == pytest.approx(
        fit_temperature(found, validation.labels, np.full(len(found), "blobs")), rel=1e-3
    )
    written = Classifier(project.exported).config
    expected = set_threshold(probabilities(found, summary.temperature), validation.labels, 0.9)
    assert (written.coverage, written.set_threshold) == (0.9, pytest.approx(expected))


@pytest.mark.slow
def test_int8_that_changes_too_much_is_refused(copy, params, monkeypatch):
    monkeypatch.setattr(stage, "_calibration_faces", average_colour)
    with pytest.raises(FeropsError, match=r"Set export\.serve: fp32"):
        export(copy, with_export(params, max_disagreement=0.0))
    assert not copy.exported.exists()


@pytest.mark.slow
def test_the_temperature_is_that_of_the_augmented_answer(copy, params, summary, monkeypatch):
    monkeypatch.setattr(stage.latency, "table", lambda *_: [])
    table = pd.read_parquet(copy.face_index)
    wrong = (table["split"] == "val") & (table["row"] % 3 == 0)  # without errors the temperature is at its bound
    table.loc[wrong, "label_index"] = (table.loc[wrong, "label_index"] + 1) % 6
    table.to_parquet(copy.face_index)
    found = export(copy, with_export(params, tta="flip_zoom"))
    for name, parity in found.parity.items():  # of the files, without augmentation
        assert parity.max_abs_difference == summary.parity[name].max_abs_difference
    classifier = Classifier(copy.exported)
    assert classifier.tta == found.tta == "flip_zoom"
    validation = data.read_faces(copy, "val")
    logits, sources = classifier.logits(validation.images), np.full(len(validation), "blobs")
    assert classifier.config.temperature == pytest.approx(fit_temperature(logits, validation.labels, sources), rel=1e-3)
    plain = Classifier(copy.exported, tta="off").logits(validation.images)
    assert abs(found.temperature - fit_temperature(plain, validation.labels, sources)) > 1e-3


@pytest.mark.slow
def test_fp32_may_be_served_instead(copy, params, monkeypatch):
    monkeypatch.setattr(stage, "_calibration_faces", average_colour)
    monkeypatch.setattr(stage.latency, "table", lambda *_: [])
    summary = export(copy, with_export(params, max_disagreement=0.0, serve="fp32"))
    assert summary.served == "model.onnx"
    assert summary.parity["model-int8.onnx"].changed_share > 0
    found = Classifier(copy.exported).logits(data.read_faces(copy, "val").images)
    assert np.allclose(found, np.load(copy.model("candidate") / "val_logits.npy"), atol=1e-3)


@pytest.mark.slow
def test_logits_of_other_weights_are_found(copy, params):
    path = copy.model("candidate") / "val_logits.npy"
    np.save(path, np.load(path) + 1.0)
    with pytest.raises(FeropsError, match="differ by up to 1"):
        export(copy, params)


def test_logits_of_another_split_are_found(copy, params):
    path = copy.model("candidate") / "val_logits.npy"
    np.save(path, np.load(path)[:-1])
    with pytest.raises(FeropsError, match="29 rows, but there are 30"):
        export(copy, params)


def test_calibration_uses_training_faces_only(project, params):
    faces = stage._calibration_faces(project, params)
    assert len(faces) == 48
    train = {image.tobytes() for image in data.read_faces(project, "train").images}
    assert {image.tobytes() for image in faces} <= train


def test_calibration_sees_each_source_alike_as_far_as_it_has_faces(project, params, monkeypatch):
    faces = data.read_faces(project, "train")
    rare = np.array([image.tobytes() for image in faces.images[:10]])
    sources = np.array(["wild"] * 10 + ["fer2013"] * (len(faces) - 10))
    monkeypatch.setattr(data, "read_sources", lambda *_: sources)
    for count, wanted in ((8, 4), (48, 10)):
        drawn = stage._calibration_faces(project, with_export(params, calibration_images=count))
        assert len(drawn) == count
        assert np.isin([image.tobytes() for image in drawn], rare).sum() == wanted


def test_compare_by_hand():
    trained = np.array([[2, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32)
    exported = np.array([[2, 0, 0], [1.5, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32)
    found = compare(trained, exported, np.array([0, 1, 2, 1]))
    assert found == Parity(max_abs_difference=1.5, changed_share=0.5, accuracy=0.75, accuracy_difference=0.0)
