"""A model in other formats answers as the served file does, or is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax

from blobs import blobs
from exports import SIZE_PX, WEIGHTS, export_config, write_export
from ferops.edge import formats, writers
from ferops.edge.convert import Compared, convert, require_possible, table
from ferops.edge.faces import rendered_faces
from ferops.edge.source import find_weights
from ferops.errors import FeropsError
from ferops.model_config import ExportConfig, ModelConfig, read_model_config
from ferops.records.conversion import Conversion
from ferops.training import model

TEMPERATURE = 1.7


def served_colours(folder: Path):
    """Return how to convert an export that knows mean colours only, and what it answers, worked out by hand."""
    write_export(folder, temperature=TEMPERATURE)
    faces = np.random.default_rng(0).integers(0, 256, (5, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    logits = faces.mean(axis=(1, 2)) @ WEIGHTS + 3.0 * (np.arange(6) == 3)
    wanted = softmax(logits / TEMPERATURE, axis=1).astype(np.float32)
    config = read_model_config(folder, ExportConfig)
    served = {"served": folder / "model.onnx", "weights": None, "compared": Compared(faces, wanted, "noise")}
    return config, served


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ResNet with random weights, as `ferops train` leaves it."""
    net = model.build("test_resnet", num_classes=6, size_px=SIZE_PX, seed=1)
    folder = tmp_path_factory.mktemp("training")
    known = export_config(architecture="test_resnet", parameters=model.count_parameters(net))
    model.save(folder, net, ModelConfig.model_validate(known.model_dump(include=set(ModelConfig.model_fields))))
    return folder


@pytest.fixture
def trained(training):
    """The weights as what answers, and faces with their probabilities."""
    net, config = model.load(training)
    extra = {"served": "weights.safetensors", "min_confidence": 0.9, "margin": 0.1, "choose": "largest"}
    known = config.model_dump() | extra | {"low_confidence": 0.5, "temperature": TEMPERATURE}
    faces, _ = blobs(2, seed=1)
    with torch.inference_mode():
        logits = net(torch.from_numpy(faces)).numpy()
    wanted = softmax(logits / TEMPERATURE, axis=1).astype(np.float32)
    compared = Compared(faces, wanted, "blobs")
    served = {"served": training / "weights.safetensors", "weights": training, "compared": compared}
    return ExportConfig.model_validate(known), served


def test_onnx_and_openvino_answer_the_probabilities_of_the_served_file(tmp_path):
    config, served = served_colours(tmp_path / "export")
    out = tmp_path / "out"
    result = convert("tiny", config, formats=["openvino", "onnx"], out=out, **served)
    assert Conversion.read(out / "conversion.json", made_by="ferops convert") == result
    assert read_model_config(out, ExportConfig) == config
    assert {path.name for path in out.iterdir()} == {
        *("conversion.json", "config.json", "model.onnx", "model.xml", "model.bin"),
    }
    for file in result.files:
        assert (file.made_from, file.precision) == ("model.onnx", "fp32")
        assert file.agreement is not None
        assert file.agreement.same_label == 1.0
        assert file.agreement.largest_difference < 1e-5
    size_mb = {path.name: path.stat().st_size / 1e6 for path in out.iterdir()}
    assert [file.size_mb for file in result.files] == [
        size_mb["model.xml"] + size_mb["model.bin"],
        size_mb["model.onnx"],
    ]
    head, *rows = table(result)
    assert [row.split()[:2] for row in rows] == [["model.xml", "model.onnx"], ["model.onnx", "model.onnx"]]
    assert head.split()[-3:] == ["ms", "a", "face"]


def test_a_file_that_answers_otherwise_shows_in_the_table(tmp_path):
    config, served = served_colours(tmp_path / "export")
    right = served["compared"]
    turned = np.roll(right.probabilities, 1, axis=1)
    served["compared"] = dataclasses.replace(right, probabilities=turned)
    result = convert("tiny", config, formats=["openvino"], out=tmp_path / "out", **served)
    found = result.files[0].agreement
    assert found is not None
    assert found.same_label == 0.0
    assert found.largest_difference == pytest.approx(np.abs(turned - right.probabilities).max(), abs=1e-5)


@pytest.mark.slow
def test_trained_weights_are_converted_as_well(trained, tmp_path):
    config, served = trained
    (file,) = convert("weights", config, formats=["onnx"], out=tmp_path / "out", **served).files
    assert file.made_from == "weights.safetensors"
    assert file.agreement is not None
    assert file.agreement.largest_difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tflite", "executorch", "coreml"])
def test_converters_of_torch_networks(trained, tmp_path, name):
    """Where they are installed: they are in no lock (docs/edge.md)."""
    for package in formats.TARGETS[name].packages:
        pytest.importorskip(package)
    config, served = trained
    (file,) = convert("weights", config, formats=[name], out=tmp_path / "out", **served).files
    assert (tmp_path / "out" / file.file).exists()
    assert file.size_mb > 0.1
    if formats.TARGETS[name].runs_here:
        assert file.agreement is not None
        assert file.agreement.same_label == 1.0
        assert file.agreement.largest_difference < 1e-4


def test_a_file_that_computes_another_network_is_refused_and_nothing_stays(trained, tmp_path, monkeypatch):
    config, served = trained

    colours = write_export(tmp_path / "export") / "model.onnx"

    def wrong(source, path):
        writers.onnx(dataclasses.replace(source, served=colours), path)

    target = dataclasses.replace(formats.TARGETS["onnx"], write=wrong, precision="fp32")
    monkeypatch.setitem(formats.TARGETS, "onnx", target)
    with pytest.raises(FeropsError, match="onnx computes test_resnet wrongly: a probability differs by 0"):
        convert("weights", config, formats=["onnx"], out=tmp_path / "out", **served)
    assert not (tmp_path / "out").exists()


def test_a_converter_that_fails_is_one_sentence(trained, tmp_path, monkeypatch):
    config, served = trained

    def broken(*_):
        raise RuntimeError("operator aten::nothing is unknown\nsecond line")

    monkeypatch.setitem(formats.TARGETS, "openvino", dataclasses.replace(formats.TARGETS["openvino"], write=broken))
    with pytest.raises(FeropsError, match=r"test_resnet cannot be written as openvino: operator .* unknown\. Choose"):
        convert("weights", config, formats=["openvino"], out=tmp_path / "out", **served)


def test_what_is_missing_is_said_before_anything_is_written(tmp_path, monkeypatch):
    config, served = served_colours(tmp_path / "export")
    out = tmp_path / "out"
    target = dataclasses.replace(formats.TARGETS["executorch"], packages=("no_such_package",))
    monkeypatch.setitem(formats.TARGETS, "executorch", target)
    with pytest.raises(
        FeropsError, match=r"written by no_such_package, .* Install: pip install 'ferops\[executorch\]'"
    ):
        require_possible(["executorch"], out)
    with pytest.raises(FeropsError, match=r"found --for coffee\. Supported formats: onnx, openvino, tflite"):
        formats.formats_of(["onnx", "coffee"])
    # This export came without its weights
    reads = dataclasses.replace(target, packages=(), write=lambda source, _: source.net)
    monkeypatch.setitem(formats.TARGETS, "executorch", reads)
    with pytest.raises(FeropsError, match=r"no weights\.safetensors beside .*artifacts/train/NAME"):
        convert("tiny", config, formats=["executorch"], out=out, **served)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(FeropsError, match="out exists, and would be replaced"):
        require_possible(["onnx"], out)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_engine_needs_a_gpu(tmp_path):
    with pytest.raises(FeropsError, match="built by the NVIDIA GPU that will run it"):
        require_possible(["tensorrt"], tmp_path / "out")


def test_weights_are_those_that_the_export_was_made_from(training, trained, tmp_path):
    config, _ = trained
    exported = tmp_path / "export" / "model.onnx"
    assert find_weights(training / "weights.safetensors", config, None) == training
    assert find_weights(exported, config, training) == training  # the temperature is the export's own
    other = config.model_copy(update={"parameters": config.parameters + 1})
    assert find_weights(exported, other, training) is None
    assert find_weights(exported, config, None) is None


def test_rendered_faces_are_the_same_at_every_call(tmp_path):
    config, _ = served_colours(tmp_path / "export")
    faces = rendered_faces(config.faces, count=1)
    assert (faces.shape, faces.dtype) == ((1, SIZE_PX, SIZE_PX, 3), np.uint8)
    assert np.array_equal(faces, rendered_faces(config.faces, count=1))
    assert faces.std() > 10
