from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from exports import change, export_config, provenance
from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode
from ferops.errors import FeropsError
from ferops.export.runtime import Classifier
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.scoring.model import opened
from ferops.scoring.weights import TrainedWeights
from ferops.training import model
from sample_images import quick_params
from scoring_files import BrightFaces, dark, tinted


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, model.ExpressionNet]:
    """A small network with random weights, as the stage `train` writes one."""
    half = (0.5, 0.5, 0.5)
    net = model.build("resnet18", num_classes=6, size_px=32, mean=half, std=half, seed=3).eval()
    folder = tmp_path / "weights"
    folder.mkdir()
    known = export_config(
        mean=half, std=half, parameters=model.count_parameters(net), temperature=2.0, provenance=provenance(seed=3)
    )
    config = ModelConfig.model_validate(known.model_dump(include=set(ModelConfig.model_fields)))
    model.save(folder, net, config)
    return folder, net


def noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("file", ["", "weights.safetensors"])
def test_trained_weights(weights: tuple[Path, model.ExpressionNet], file: str) -> None:
    folder, net = weights
    faces = noise(5)
    with opened(Layout(), str(folder / file)) as ready:
        found = ready.predictor.classify(faces)
    with torch.inference_mode():
        logits = net(torch.from_numpy(faces))
        mirrored = net(torch.from_numpy(faces[:, :, ::-1].copy()))
    expected = torch.softmax(logits / 2.0, dim=1).numpy()
    with opened(Layout(), str(folder / file), tta="flip") as augmented:
        averaged = augmented.predictor.classify(faces)
    mean = (torch.softmax(logits, dim=1) + torch.softmax(mirrored, dim=1)) / 2
    np.testing.assert_allclose(averaged, torch.softmax(mean.log() / 2.0, dim=1).numpy(), atol=1e-6)
    assert (ready.about.tta, augmented.about.tta) == ("off", "flip")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    about = ready.about
    assert (about.kind, about.version) == ("weights", None)
    assert about.file == str(folder / "weights.safetensors")
    assert (about.architecture, about.size_px, about.seed) == ("resnet18", 32, 3)
    assert (about.sources, about.data_version, about.git_commit) == (("synthetic",), "d" * 32, None)


def test_trained_weights_answer_images_as_an_export_does(weights: tuple[Path, model.ExpressionNet]) -> None:
    """They are another classifier of the Predictor: with the settings that they were trained with."""
    settings = quick_params().preprocess
    with opened(Layout(), str(weights[0])) as ready:
        config = ready.config
    assert (config.detector, config.margin, config.align) == (settings.detector, settings.margin, settings.align)
    predictor = Predictor(weights[0], detector=BrightFaces(), classifier=TrainedWeights(weights[0]))
    (face,) = predictor.predict([decode(tinted("red", 1))])[0].faces
    assert face.label in DEFAULT_CLASSES
    assert predictor.predict([decode(dark(1))])[0].status == "no_face"


def test_an_exported_folder_runs_what_is_served_and_a_file_itself(export: Path) -> None:
    twice = onnx.load(export / "model-int8.onnx")
    for tensor in twice.graph.initializer:
        if tensor.name == "weights":
            tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), "weights"))
    onnx.save(twice, export / "model-int8.onnx")
    faces = noise(3)
    served = Classifier(export, threads=1).probabilities(faces)
    for given in (export, export / "model.onnx"):
        with opened(Layout(), str(given)) as ready:
            np.testing.assert_array_equal(ready.predictor.classify(faces), served)
            assert ready.about.file == str(export / "model.onnx")
    other = Classifier(export, served="model-int8.onnx").probabilities(faces)
    assert np.abs(other - served).max() > 0.01
    (export / "weights.safetensors").write_bytes(b"")  # as beside a model that comes with ferops
    with opened(Layout(), str(export)) as ready:
        assert ready.about.kind == "export"
    with opened(Layout(), str(export / "model-int8.onnx")) as ready:
        np.testing.assert_array_equal(ready.predictor.classify(faces), other)
        assert ready.about.file == str(export / "model-int8.onnx")


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def cut_file(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return cut


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_config, "config.json cannot be used"),
        (lambda folder: (folder / "config.json").unlink(), "config.json does not exist"),
        (lambda folder: change(folder, size_px="large"), "config.json cannot be used: size_px"),
        (lambda folder: change(folder, classes=[*DEFAULT_CLASSES, "neutral"]), "come from different exports"),
        (lambda folder: change(folder, size_px=48), "maps faces .* come from different exports"),
        (cut_file("model.onnx"), "model.onnx is damaged or not an ONNX model"),
        (lambda folder: (folder / "model.onnx").unlink(), "model.onnx does not exist"),
        (lambda folder: [path.unlink() for path in folder.glob("*.onnx")], "holds neither weights.safetensors"),
    ],
)
def test_a_damaged_export_is_named(export: Path, spoil: Callable[[Path], Any], message: str) -> None:
    spoil(export)
    with pytest.raises(FeropsError, match=message), opened(Layout(), str(export)):
        pass


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json does not exist"),
        (lambda folder: change(folder, classes=list(DEFAULT_CLASSES[:5])), "does not fit the resnet18"),
        (lambda folder: change(folder, provenance={"params": {}}), "does not say how the faces were made"),
        (cut_file("weights.safetensors"), "weights.safetensors is damaged"),
        (lambda folder: change(folder, architecture="resnet50"), "does not fit the resnet50"),
    ],
)
def test_damaged_weights_are_named(
    weights: tuple[Path, model.ExpressionNet], spoil: Callable[[Path], Any], message: str
) -> None:
    spoil(weights[0])
    with pytest.raises(FeropsError, match=message), opened(Layout(), str(weights[0])):
        pass


def test_other_files_are_refused(tmp_path: Path) -> None:
    cases = {
        tmp_path / "nowhere": "does not exist. --model is starter",
        tmp_path: "holds neither weights.safetensors nor an exported .onnx file",
        Path(
            __file__
        ): "test_scoring_model.py is not a model file. Supported: weights.safetensors and exported .onnx files",
    }
    for given, message in cases.items():
        with pytest.raises(FeropsError, match=message), opened(Layout(), str(given)):
            pass


def test_an_exported_file_needs_its_config(export: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(export / "model.onnx", alone)
    with (
        pytest.raises(FeropsError, match=r"alone/config\.json does not exist"),
        opened(Layout(), str(alone / "model.onnx")),
    ):
        pass
