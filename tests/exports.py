"""A tiny exported model: quick, and its answers can be worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ferops.classes import DEFAULT_CLASSES, canonical
from ferops.model_config import ExportConfig
from ferops.records import Provenance
from sample_images import quick_params

SIZE_PX = 32

WEIGHTS = np.array([[4, 0, 0, 2, 0, 0], [0, 4, 0, 0, 2, 0], [0, 0, 4, 0, 0, 2]], np.float32) / 255
"""(3, 6): logits of the six classes = mean RGB of the face @ WEIGHTS + bias."""


def provenance(**changes: Any) -> Provenance:
    """What a model of the preset `quick` was made from."""
    known = {
        "data_version": "d" * 32,
        "split_hash": "a" * 16,
        "git_commit": None,
        "seed": 7,
        "preset": "quick",
        "sources": ("synthetic",),
        "synthetic": True,
        "ferops_version": "0.1.0",
        "params": quick_params().model_dump(mode="json", by_alias=True),
    }
    return Provenance.model_validate(known | changes)


def export_config(**changes: Any) -> ExportConfig:
    """The config.json of `write_export`."""
    known: dict[str, Any] = {
        "architecture": "resnet18",
        "classes": DEFAULT_CLASSES,
        "size_px": SIZE_PX,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "temperature": 1.0,
        "served": "model.onnx",
        "min_confidence": 0.9,
        "margin": 0.1,
        "choose": "largest",
        "low_confidence": 0.5,
        "parameters": 24,
        "licence": "Apache-2.0",
        "provenance": provenance(),
    }
    return ExportConfig.model_validate(known | changes)


def write_export(folder: Path, *, favours: str = "happy", by: float = 3.0, **config: Any) -> Path:
    """Write an export folder (docs/files.md) whose logits are linear in the mean colour, plus `by` for `favours`.

    The logits of further classes do not depend on the colour.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    settings = export_config(**config)
    classes = settings.classes
    columns = dict(zip(DEFAULT_CLASSES, WEIGHTS.T, strict=True))
    weights = np.stack([columns.get(canonical(name), np.zeros(3, np.float32)) for name in classes], axis=1)
    bias = np.array([by * (name == favours) for name in classes], np.float32)
    nodes = [
        helper.make_node("Cast", ["faces"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", settings.size_px, settings.size_px, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(classes)])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(bias, "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.onnx", "model-int8.onnx"):
        onnx.save(model, folder / name)
    (folder / "config.json").write_text(settings.model_dump_json(indent=2))
    return folder


def change(folder: Path, **values: Any) -> None:
    """Change values of config.json, valid or not; `provenance` is a mapping of changes to what is there."""
    path = folder / "config.json"
    tree = json.loads(path.read_text())
    tree["provenance"] |= values.pop("provenance", {})
    path.write_text(json.dumps(tree | values))
