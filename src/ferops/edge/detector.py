"""The three networks of MTCNN as ONNX files, for runtimes other than OpenVINO.

They have the inputs and outputs of `ferops.faces.detectors.mtcnn_networks`, which says what the numbers are, and the
same weights. What runs between them (pyramid, suppression, squares) is not in the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from ferops.export.files import OPSET
from ferops.faces.detectors.mtcnn_networks import WEIGHTS
from ferops.files import atomic_file

INPUT, OUTPUTS = "images", ("probabilities", "regression", "landmarks")
_IR_VERSION = 9  # of opset 18's time: runtimes refuse files that are newer than they are


def write_mtcnn(folder: Path) -> tuple[Path, ...]:
    """Write p_net.onnx, r_net.onnx and o_net.onnx (2 MB) into an existing folder; return their paths.

    Each takes RGB images, uint8 `(N, H, W, 3)`: of any size, of 24 and of 48 pixels.
    """
    weights = load_file(WEIGHTS)
    files = {
        "p_net": _Graph(weights, "pnet").convolutions(2, 0, 0).heads("conv4_1", "conv4_2", shape=("h", "w")),
        "r_net": _Graph(weights, "rnet").convolutions(3, 3, 0).dense("dense4").heads("dense5_1", "dense5_2"),
        "o_net": _Graph(weights, "onet")
        .convolutions(3, 3, 2, 0)
        .dense("dense5")
        .heads("dense6_1", "dense6_2", "dense6_3"),
    }
    return tuple(_save(model, folder / f"{name}.onnx") for name, model in files.items())


def _save(model: onnx.ModelProto, path: Path) -> Path:
    with atomic_file(path) as temporary:
        onnx.save(model, temporary)
    return path


class _Graph:
    """A network that grows layer by layer; `x` is the name of what the last one gives."""

    def __init__(self, weights: dict[str, NDArray[np.float32]], name: str) -> None:
        self._weights = {key.removeprefix(f"{name}."): value for key, value in weights.items()}
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []
        self._x = self._add("Cast", INPUT, to=TensorProto.FLOAT)
        self._x = self._add("Transpose", self._x, perm=[0, 3, 1, 2])
        self._x = self._add("Sub", self._x, self._constant("middle", np.float32(127.5)))  # as they were trained
        self._x = self._add("Mul", self._x, self._constant("scale", np.float32(1 / 128)))

    def convolutions(self, *pools: int) -> _Graph:
        """Add convolutions, each followed by the pooling of this size; 0 for none."""
        for number, pool in enumerate(pools, start=1):
            self._x = self._prelu(self._convolution(f"conv{number}"), number, axes=2)
            if pool:
                self._x = self._add("MaxPool", self._x, kernel_shape=[pool, pool], strides=[2, 2], ceil_mode=1)
        return self

    def dense(self, layer: str) -> _Graph:
        self._x = self._add("Transpose", self._x, perm=[0, 3, 2, 1])  # the weights expect columns before rows
        self._x = self._linear(self._add("Flatten", self._x, axis=1), layer)
        self._x = self._prelu(self._x, int(layer[-1]), axes=0)
        return self

    def heads(self, *layers: str, shape: tuple[str, ...] = ()) -> onnx.ModelProto:
        """Add the output layers, with a softmax behind the first, and return the model; `shape` are further axes."""
        outputs: list[onnx.ValueInfoProto] = []
        for layer, output in zip(layers, OUTPUTS, strict=False):
            y = self._convolution(layer) if shape else self._linear(self._x, layer)
            kind = "Identity" if outputs else "Softmax"
            attributes: dict[str, Any] = {} if outputs else {"axis": 1}
            self._nodes.append(helper.make_node(kind, [y], [output], **attributes))
            sides: list[str | int | None] = ["n", len(self._weights[f"{layer}.bias"]), *shape]
            outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, sides))
        images = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", "height", "width", 3])
        graph = helper.make_graph(self._nodes, self._name, [images], outputs, self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _convolution(self, layer: str) -> str:
        return self._add("Conv", self._x, *self._pair(layer))

    def _linear(self, x: str, layer: str) -> str:
        return self._add("Gemm", x, *self._pair(layer), transB=1)

    def _prelu(self, x: str, number: int, *, axes: int) -> str:
        slope = self._weights[f"prelu{number}.weight"]
        return self._add("PRelu", x, self._constant(f"prelu{number}", slope.reshape(-1, *[1] * axes)))

    def _pair(self, layer: str) -> tuple[str, str]:
        kinds = ("weight", "bias")
        weight, bias = (self._constant(f"{layer}.{kind}", self._weights[f"{layer}.{kind}"]) for kind in kinds)
        return weight, bias

    def _constant(self, name: str, value: Any) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def _add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output
