"""The three networks of MTCNN as ONNX files, for runtimes other than OpenVINO.

They have the inputs and outputs of `ferops.faces.detectors.mtcnn_networks`, which says what the numbers are, and the
same weights. What runs between them (pyramid, suppression, squares) is not in the files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ferops.edge.graph import Graph, Sides, save
from ferops.faces.detectors.mtcnn_networks import WEIGHTS

OUTPUTS = ("probabilities", "regression", "landmarks")


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
    return tuple(save(model, folder / f"{name}.onnx") for name, model in files.items())


class _Graph(Graph):
    """A network that grows layer by layer; `x` is the name of what the last one gives."""

    def __init__(self, weights: dict[str, NDArray[np.float32]], name: str) -> None:
        super().__init__(name)
        self._weights = {key.removeprefix(f"{name}."): value for key, value in weights.items()}
        self._x = self.add("Sub", self.images(), self.constant("middle", np.float32(127.5)))  # as they were trained
        self._x = self.add("Mul", self._x, self.constant("scale", np.float32(1 / 128)))

    def convolutions(self, *pools: int) -> _Graph:
        """Add convolutions, each followed by the pooling of this size; 0 for none."""
        for number, pool in enumerate(pools, start=1):
            self._x = self._prelu(self._convolution(f"conv{number}"), number, axes=2)
            if pool:
                self._x = self.add("MaxPool", self._x, kernel_shape=[pool, pool], strides=[2, 2], ceil_mode=1)
        return self

    def dense(self, layer: str) -> _Graph:
        self._x = self.add("Transpose", self._x, perm=[0, 3, 2, 1])  # the weights expect columns before rows
        self._x = self._linear(self.add("Flatten", self._x, axis=1), layer)
        self._x = self._prelu(self._x, int(layer[-1]), axes=0)
        return self

    def heads(self, *layers: str, shape: tuple[str, ...] = ()) -> onnx.ModelProto:
        """Add the output layers, with a softmax behind the first, and return the model; `shape` are further axes."""
        outputs: dict[str, Sides] = {}
        for layer, output in zip(layers, OUTPUTS, strict=False):
            y = self._convolution(layer) if shape else self._linear(self._x, layer)
            if outputs:
                self.name("Identity", y, output)
            else:
                self.name("Softmax", y, output, axis=1)
            outputs[output] = ["n", len(self._weights[f"{layer}.bias"]), *shape]
        return self.model(["n", "height", "width", 3], outputs)

    def _convolution(self, layer: str) -> str:
        return self.add("Conv", self._x, *self._pair(layer))

    def _linear(self, x: str, layer: str) -> str:
        return self.add("Gemm", x, *self._pair(layer), transB=1)

    def _prelu(self, x: str, number: int, *, axes: int) -> str:
        slope = self._weights[f"prelu{number}.weight"]
        return self.add("PRelu", x, self.constant(f"prelu{number}", slope.reshape(-1, *[1] * axes)))

    def _pair(self, layer: str) -> tuple[str, str]:
        kinds = ("weight", "bias")
        weight, bias = (self.constant(f"{layer}.{kind}", self._weights[f"{layer}.{kind}"]) for kind in kinds)
        return weight, bias
