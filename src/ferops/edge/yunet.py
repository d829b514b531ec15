"""YuNet's network as an ONNX file, for runtimes other than OpenVINO.

It has the input and outputs of `ferops.faces.detectors.yunet_network`, which says what the numbers are, and the same
weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ferops.edge.graph import Graph, save
from ferops.faces.detectors.yunet_network import STRIDES_PX, WEIGHTS

_HEADS = ("cls", "obj", "bbox")


def write_yunet(folder: Path) -> Path:
    """Write yunet.onnx (0.3 MB) into an existing folder; return its path.

    It takes one RGB image, uint8 `(1, H, W, 3)`, both sides multiples of 32, and gives `stride_32`, `stride_16` and
    `stride_8`.
    """
    return save(_Graph(load_file(WEIGHTS)).whole(), folder / "yunet.onnx")


class _Graph(Graph):
    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        super().__init__("yunet")
        self._weights = weights

    def whole(self) -> onnx.ModelProto:
        first = self.constant("first.weight", self._weights["backbone__model0_pw.weight"][:, ::-1])  # trained on BGR
        bias = self.constant("first.bias", self._weights["backbone__model0_pw.bias"])
        x = self.add("Relu", self.add("Conv", self.images(), first, bias, strides=[2, 2], pads=[1] * 4))
        x = self._halved(self.add("Relu", self._separable(x, "backbone__model0_dp")))
        maps = []  # of the strides 8, 16 and 32
        for block in range(1, 6):
            for pair in (1, 2):
                x = self.add("Relu", self._separable(x, f"backbone__model{block}_dp{pair}"))
            if block >= 3:
                maps.append(x)
            if block in (2, 3, 4):
                x = self._halved(x)
        for level, stride in zip((2, 1, 0), STRIDES_PX, strict=True):
            x = maps[level] if level == 2 else self.add("Add", self._doubled(x), maps[level])
            x = self.add("Relu", self._separable(x, f"neck__lateral_convs__{level}"))
            heads = [self._separable(x, f"bbox_head__multi_level_{name}__{level}") for name in _HEADS]
            self.name("Concat", *heads, f"stride_{stride}", axis=1)
        return self.model([1, "height", "width", 3], {f"stride_{stride}": [1, 6, f"h{stride}", f"w{stride}"]
                                                      for stride in STRIDES_PX})  # fmt: skip

    def _separable(self, x: str, layer: str) -> str:
        """A convolution of single pixels, then one of 3 x 3 pixels within each channel."""
        x = self.add("Conv", x, *self._pair(f"{layer}_pw"))
        weight, bias = (self._weights[f"{layer}_dw.{kind}"] for kind in ("weight", "bias"))
        kernels = self.constant(f"{layer}_dw.weight", weight.reshape(len(bias), 1, 3, 3))
        return self.add("Conv", x, kernels, self.constant(f"{layer}_dw.bias", bias), group=len(bias), pads=[1] * 4)

    def _pair(self, layer: str) -> tuple[str, str]:
        weight, bias = (
            self.constant(f"{layer}.{kind}", self._weights[f"{layer}.{kind}"]) for kind in ("weight", "bias")
        )
        return weight, bias

    def _halved(self, x: str) -> str:
        return self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def _doubled(self, x: str) -> str:
        factors = self.constant(f"factors of {x}", np.array([1, 1, 2, 2]))
        return self.add("Resize", x, "", factors, mode="nearest", nearest_mode="floor",
                        coordinate_transformation_mode="asymmetric")  # fmt: skip
