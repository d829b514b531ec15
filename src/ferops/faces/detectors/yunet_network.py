"""YuNet's network on OpenVINO: one pass over an image marks its faces.

Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector". The graph is built here layer by layer;
weights/NOTICE says where the weights come from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ferops.faces.detectors.mtcnn_networks import Network, compile_fp32
from ferops.machine import import_openvino

WEIGHTS = Path(__file__).parent / "weights" / "yunet.safetensors"

STRIDES_PX = (32, 16, 8)
"""Of the three grids of the answer."""

Graph = Any
"""A node of an OpenVINO model."""


def yunet(*, threads: int | None = None) -> Network:
    """Return the network. It takes one image, RGB uint8 `(1, H, W, 3)`, both sides multiples of the largest stride.

    Each of its grids, in the order of STRIDES_PX, gives an array `(1, 6, h, w)`: the logits of two scores, whose
    geometric mean is that of a face; x, y of its centre from the cell's corner, in cells; and the logarithms of its
    width and height, in cells.
    """
    openvino = import_openvino()
    from openvino import opset13 as ops
    from safetensors.numpy import load_file

    weights = load_file(WEIGHTS)

    def with_bias(y: Graph, layer: str) -> Graph:
        return ops.add(y, weights[f"{layer}.bias"].reshape(1, -1, 1, 1))

    def separable(x: Graph, layer: str) -> Graph:
        """A convolution of single pixels, then one of 3 x 3 pixels within each channel."""
        one = [1, 1]
        x = with_bias(ops.convolution(x, weights[f"{layer}_pw.weight"], one, [0, 0], [0, 0], one), f"{layer}_pw")
        return with_bias(ops.group_convolution(x, weights[f"{layer}_dw.weight"], one, one, one, one), f"{layer}_dw")

    def halved(x: Graph) -> Graph:
        return ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)

    def doubled(x: Graph) -> Graph:
        factors, axes = np.array([2, 2], np.float32), np.array([2, 3])
        return ops.interpolate(x, factors, "nearest", "scales", axes=axes, nearest_mode="floor",
                               coordinate_transformation_mode="asymmetric")  # fmt: skip

    images = ops.parameter([1, -1, -1, 3], np.uint8, name="images")
    x = ops.transpose(ops.convert(images, "f32"), [0, 3, 1, 2])
    first = weights["backbone__model0_pw.weight"][:, ::-1].copy()  # the network was trained on BGR
    x = ops.relu(with_bias(ops.convolution(x, first, [2, 2], [1, 1], [1, 1], [1, 1]), "backbone__model0_pw"))
    x = halved(ops.relu(separable(x, "backbone__model0_dp")))
    maps = []  # of the strides 8, 16 and 32
    for block in range(1, 6):
        for pair in (1, 2):
            x = ops.relu(separable(x, f"backbone__model{block}_dp{pair}"))
        if block >= 3:
            maps.append(x)
        if block in (2, 3, 4):
            x = halved(x)
    for level in (2, 1, 0):  # the three heads of a grid in one: fewer, larger layers
        heads = [f"bbox_head__multi_level_{name}__{level}" for name in ("cls", "obj", "bbox")]
        for part in ("pw.weight", "pw.bias", "dw.weight", "dw.bias"):
            weights[f"head{level}_{part}"] = np.concatenate([weights[f"{head}_{part}"] for head in heads])
    outputs = []
    x = None
    for level in (2, 1, 0):
        x = maps[level] if x is None else ops.add(doubled(x), maps[level])
        x = ops.relu(separable(x, f"neck__lateral_convs__{level}"))
        outputs.append(separable(x, f"head{level}"))
    model = compile_fp32(openvino.Model(outputs, [images]), threads=threads)
    # Copies: the next run overwrites the model's output memory
    return lambda images: tuple(np.array(output) for output in model(images).values())
