"""The three networks of MTCNN, with the weights that the package facenet-pytorch ships, on OpenVINO.

OpenVINO runs them two to five times as fast as PyTorch on one core. The graphs are built here layer by layer: nothing
is traced, and none of the package's code is run.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.errors import FeropsError
from ferops.machine import openvino_core

Floats = NDArray[np.float32]
Net = Callable[[NDArray[np.uint8]], tuple[Floats, ...]]
"""Takes pictures, RGB uint8 `(N, H, W, 3)`, and returns float32 arrays. Not for two threads at a time."""


def p_net() -> Net:
    """Return the net that looks at every window of 12 x 12 pixels, 2 apart, of pictures of any size: probabilities
    `(N, 2, h, w)` (no face, face) and shifts of the window's x1, y1, x2, y2 `(N, 4, h, w)` in shares of its side."""
    return _net("pnet", pools=(2, 0, 0), dense=None, heads=("conv4_1", "conv4_2"))


def r_net() -> Net:
    """Return the net for pictures of 24 x 24 pixels: probabilities `(N, 2)` and shifts `(N, 4)`, as `p_net`."""
    return _net("rnet", pools=(3, 3, 0), dense="dense4", heads=("dense5_1", "dense5_2"))


def o_net() -> Net:
    """Return the net for pictures of 48 x 48 pixels: probabilities `(N, 2)` and shifts `(N, 4)`, as `p_net`, and
    landmarks `(N, 10)`, five x and then five y, in shares of the picture's side."""
    return _net("onet", pools=(3, 3, 2, 0), dense="dense5", heads=("dense6_1", "dense6_2", "dense6_3"))


def compiled(model: Any) -> Any:
    """Return an OpenVINO model ready to run on the CPU, with as many threads as PyTorch now has (so that
    torch.set_num_threads speaks for both), and in FP32 even where the CPU has bf16: the same faces everywhere."""
    import torch

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # pinned, all processes of a machine sit on its first core
    }
    return openvino_core().compile_model(model, "CPU", settings)


def _net(name: str, *, pools: tuple[int, ...], dense: str | None, heads: tuple[str, ...]) -> Net:
    """Build a net.

    Args:
        pools: size of the pooling after each convolution, 0 for none.
        dense: the fully connected layer before the heads.
        heads: the layers that give the outputs; the first is followed by a softmax.
    """
    import openvino
    from openvino import opset13 as ops

    weights = _weights(name)
    pictures = ops.parameter([-1, -1, -1, 3], np.uint8, name="pictures")
    x = ops.transpose(ops.convert(pictures, "f32"), [0, 3, 1, 2])
    x = ops.multiply(ops.subtract(x, np.float32(127.5)), np.float32(1 / 128))  # as the networks were trained
    for i, pool in enumerate(pools, start=1):
        x = ops.prelu(_convolution(x, weights, f"conv{i}"), weights[f"prelu{i}.weight"])
        if pool:
            x = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [pool, pool], rounding_type="ceil").output(0)
    if dense:
        x = ops.transpose(x, [0, 3, 2, 1])  # the weights expect columns before rows
        x = ops.reshape(x, [0, weights[f"{dense}.weight"].shape[1]], special_zero=True)
        x = ops.prelu(_linear(x, weights, dense), weights[f"prelu{dense[-1]}.weight"])
    layer = _linear if dense else _convolution
    outputs = [layer(x, weights, head) for head in heads]
    outputs[0] = ops.softmax(outputs[0], 1)
    model = compiled(openvino.Model(outputs, [pictures]))
    # Copies: the model's own memory is written over by its next run
    return lambda pictures: tuple(np.array(model_output) for model_output in model(pictures).values())


def _convolution(x: Any, weights: dict[str, Floats], name: str) -> Any:
    from openvino import opset13 as ops

    made = ops.convolution(x, weights[f"{name}.weight"], [1, 1], [0, 0], [0, 0], [1, 1])
    return ops.add(made, weights[f"{name}.bias"].reshape(1, -1, 1, 1))


def _linear(x: Any, weights: dict[str, Floats], name: str) -> Any:
    from openvino import opset13 as ops

    return ops.add(ops.matmul(x, weights[f"{name}.weight"], False, True), weights[f"{name}.bias"])


def _weights(name: str) -> dict[str, Floats]:
    """Read the arrays of one network: tensors only, no code."""
    import torch

    package = find_spec("facenet_pytorch")
    if package is None or package.origin is None:
        raise FeropsError("MTCNN's weights are in the package facenet-pytorch. Run: pip install facenet-pytorch==2.5.3")
    path = Path(package.origin).parent / "data" / f"{name}.pt"
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {key: tensor.numpy() for key, tensor in state.items()}
