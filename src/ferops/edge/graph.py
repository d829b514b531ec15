"""ONNX graphs built by hand, node by node: those of the detectors' networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ferops.export.files import OPSET
from ferops.files import atomic_file

INPUT = "images"
_IR_VERSION = 9  # of opset 18's time: runtimes refuse files that are newer than they are

Sides: TypeAlias = list[str | int | None]
"""Of a tensor; a name for one that is not fixed."""


class Graph:
    """A graph that grows; values go by their names."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []

    def images(self) -> str:
        """Return the input, RGB uint8 `(N, H, W, 3)`, as float32 `(N, 3, H, W)`."""
        return self.add("Transpose", self.add("Cast", INPUT, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])

    def constant(self, name: str, value: Any) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node, and return its output."""
        return self.name(kind, *inputs, f"{kind.lower()}_{len(self._nodes)}", **attributes)

    def name(self, kind: str, *inputs_and_output: str, **attributes: Any) -> str:
        """Add a node whose output has the last name given, and return that."""
        *inputs, output = inputs_and_output
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def model(self, images: Sides, outputs: dict[str, Sides]) -> onnx.ModelProto:
        """Return the whole; `images` and `outputs` are the sides of input and outputs."""
        given = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, images)
        found = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in outputs.items()]
        graph = helper.make_graph(self._nodes, self._name, [given], found, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    with atomic_file(path) as temporary:
        onnx.save(model, temporary)
    return path
