"""What several test folders share: a tiny exported model that is quick and whose answers can be worked out by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from ferops import config, presets
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.layout import Layout
from ferops.records import Provenance

WEIGHTS = np.array([[4, 0, 0, 2, 0, 0], [0, 4, 0, 0, 2, 0], [0, 0, 4, 0, 0, 2]], np.float32) / 255
"""(3, 6): logits = mean RGB of the face @ WEIGHTS + bias."""

ExportMaker = Callable[..., Path]

PROVENANCE = Provenance(
    data_version="d" * 32,
    split_hash="a" * 16,
    git_commit=None,
    seed=7,
    preset="quick",
    sources=("synthetic",),
    synthetic=True,
    ferops_version="0.1.0",
    params={},
)


@pytest.fixture(scope="session")
def make_export(tmp_path_factory: pytest.TempPathFactory) -> ExportMaker:
    """Return a function that writes an export folder (docs/files.md) whose logits are linear in the mean colour."""

    def make(*, favours: str = "happy", low_confidence: float = 0.5, temperature: float = 1.0) -> Path:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        bias = np.array([3.0 * (name == favours) for name in DEFAULT_CLASSES], np.float32)
        size_px = 32
        nodes = [
            helper.make_node("Cast", ["faces"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["scores"]),
            helper.make_node("Add", ["scores", "bias"], ["logits"]),
        ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", size_px, size_px, 3])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(DEFAULT_CLASSES)])],
            [
                numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
                numpy_helper.from_array(WEIGHTS, "weights"),
                numpy_helper.from_array(bias, "bias"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model)
        folder = tmp_path_factory.mktemp("export")
        for name in ("model.onnx", "model-int8.onnx"):
            onnx.save(model, folder / name)
        config = {
            "architecture": "resnet18",
            "classes": list(DEFAULT_CLASSES),
            "size_px": size_px,
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
            "temperature": temperature,
            "served": "model.onnx",
            "min_confidence": 0.9,
            "margin": 0.1,
            "choose": "largest",
            "low_confidence": low_confidence,
            "parameters": 24,
            "licence": "Apache-2.0",
            "provenance": PROVENANCE.as_json(),
        }
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return make


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def quick_params() -> Params:
    """The preset quick, whatever params.yaml holds."""
    return config.parse(YAML(typ="safe").load(presets.render("quick")))


@pytest.fixture(scope="session")
def favourites() -> dict[str, str]:
    """The expression that each version of `bentos` favours, so that an answer tells which version gave it."""
    return {"1": "happy", "2": "sad"}


@pytest.fixture(scope="session")
def bentos(
    tmp_path_factory: pytest.TempPathFactory, make_export: ExportMaker, favourites: dict[str, str], quick_params: Params
) -> Layout:
    """A project with the Bentos of versions 1 and 2, built in this order."""
    from ferops.packaging.bento import package

    root = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "service", root / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "constraints.txt", root / "constraints.txt")
    layout = Layout(root)
    for version, expression in favourites.items():
        folder = make_export(favours=expression, low_confidence=0.3)
        shutil.copytree(folder, root / "exports" / version)
        package(layout, quick_params, model_folder=folder, version=version)
    return layout
