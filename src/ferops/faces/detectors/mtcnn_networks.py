"""The three networks of MTCNN on OpenVINO, which runs them two to five times as fast as PyTorch on one core.

The graphs are built here layer by layer. weights/NOTICE says where the weights come from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.machine import import_openvino, openvino_core
from ferops.threads import limit

Floats = NDArray[np.float32]
Network = Callable[[NDArray[np.uint8]], tuple[Floats, ...]]
"""Takes images, RGB uint8 `(N, H, W, 3)`, and returns float32 arrays. Not thread-safe."""

WEIGHTS = Path(__file__).parent / "weights" / "mtcnn.safetensors"


def p_net(*, threads: int | None = None) -> Network:
    """Return the proposal network. It scores every window of 12 x 12 pixels, 2 apart, of images of any size:
    probabilities `(N, 2, h, w)` (no face, face) and box regression `(N, 4, h, w)` of x1, y1, x2, y2 in shares of the
    window's side."""
    return _build("pnet", pools=(2, 0, 0), dense=None, heads=("conv4_1", "conv4_2"), threads=threads)


def r_net(*, threads: int | None = None) -> Network:
    """Return the refinement network for images of 24 x 24 pixels: probabilities `(N, 2)` and box regression `(N, 4)`,
    as `p_net`."""
    return _build("rnet", pools=(3, 3, 0), dense="dense4", heads=("dense5_1", "dense5_2"), threads=threads)


def o_net(*, threads: int | None = None) -> Network:
    """Return the output network for images of 48 x 48 pixels: probabilities `(N, 2)` and box regression `(N, 4)`, as
    `p_net`, and landmarks `(N, 10)`, five x and then five y, in shares of the image's side."""
    heads = ("dense6_1", "dense6_2", "dense6_3")
    return _build("onet", pools=(3, 3, 2, 0), dense="dense5", heads=heads, threads=threads)


def compile_fp32(model: Any, *, threads: int | None) -> Any:
    """Compile an OpenVINO model for the CPU, in FP32 even if the CPU has bf16, so that faces are the same everywhere.

    Args:
        threads: CPU threads; None for those of `ferops.threads`.
    """
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,  # with pinning, all processes would run on the first core
    }
    if threads := threads or limit():
        settings["INFERENCE_NUM_THREADS"] = threads
    return openvino_core().compile_model(model, "CPU", settings)


def _build(
    name: str, *, pools: tuple[int, ...], dense: str | None, heads: tuple[str, ...], threads: int | None
) -> Network:
    """Build a network.

    Args:
        pools: size of the pooling after each convolution, 0 for none.
        dense: the fully connected layer before the heads.
        heads: the output layers; a softmax follows the first.
    """
    openvino = import_openvino()
    from openvino import opset13 as ops
    from safetensors.numpy import load_file

    weights = {key.removeprefix(f"{name}."): value for key, value in load_file(WEIGHTS).items()}

    def convolution(x: Any, layer: str) -> Any:
        y = ops.convolution(x, weights[f"{layer}.weight"], [1, 1], [0, 0], [0, 0], [1, 1])
        return ops.add(y, weights[f"{layer}.bias"].reshape(1, -1, 1, 1))

    def linear(x: Any, layer: str) -> Any:
        return ops.add(ops.matmul(x, weights[f"{layer}.weight"], False, True), weights[f"{layer}.bias"])

    images = ops.parameter([-1, -1, -1, 3], np.uint8, name="images")
    x = ops.transpose(ops.convert(images, "f32"), [0, 3, 1, 2])
    x = ops.multiply(ops.subtract(x, np.float32(127.5)), np.float32(1 / 128))  # as the networks were trained
    for i, pool in enumerate(pools, start=1):
        x = ops.prelu(convolution(x, f"conv{i}"), weights[f"prelu{i}.weight"])
        if pool:
            x = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [pool, pool], rounding_type="ceil").output(0)
    if dense:
        x = ops.transpose(x, [0, 3, 2, 1])  # the weights expect columns before rows
        x = ops.reshape(x, [0, weights[f"{dense}.weight"].shape[1]], special_zero=True)
        x = ops.prelu(linear(x, dense), weights[f"prelu{dense[-1]}.weight"])
    head = linear if dense else convolution
    outputs = [head(x, layer) for layer in heads]
    outputs[0] = ops.softmax(outputs[0], 1)
    model = compile_fp32(openvino.Model(outputs, [images]), threads=threads)
    # Copies: the next run overwrites the model's output memory
    return lambda images: tuple(np.array(output) for output in model(images).values())
