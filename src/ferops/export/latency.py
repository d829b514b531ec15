"""The speed of each runtime on this machine, for benchmarks/infer.py and the export's summary."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops import threads
from ferops.export.runtime import compile_onnx
from ferops.records.export import Precision, Runtime, RuntimeSpeed
from ferops.training.model import ExpressionNet

Run = Callable[[NDArray[np.uint8]], Any]

BATCH = 16


def table(net: ExpressionNet, fp32: Path, int8: Path, *, budget_s: float = 0.4) -> tuple[RuntimeSpeed, ...]:
    """Time every runtime on random faces, with the threads that this process computes with, none of which spins.

    Args:
        budget_s: time for each measurement, in seconds; each runs at least three times.
    """
    faces = np.random.default_rng(0).integers(0, 256, (BATCH, net.size_px, net.size_px, 3), dtype=np.uint8)
    makers: list[tuple[Runtime, Precision, Callable[[], Run]]] = [
        ("torch", "fp32", lambda: _torch(net)),
        ("onnxruntime", "fp32", lambda: _onnxruntime(fp32)),
        ("onnxruntime", "int8", lambda: _onnxruntime(int8)),
        ("openvino", "fp32", lambda: compile_onnx(fp32)),
        ("openvino", "bf16", lambda: compile_onnx(fp32, precision="bf16")),
        ("openvino", "int8", lambda: compile_onnx(int8)),
    ]
    rows = []
    for runtime, precision, make in makers:
        run = make()
        single = median_s(run, faces[:1], budget_s)
        batch = median_s(run, faces, budget_s)
        rows.append(
            RuntimeSpeed(
                runtime=runtime,
                precision=precision,
                latency_ms=round(single * 1000.0, 3),
                images_per_s=round(BATCH / batch, 1),
            )
        )
    return tuple(rows)


def median_s(run: Run, faces: NDArray[np.uint8], budget_s: float) -> float:
    """Return the median seconds of `run(faces)`, of at least three calls after a first one."""
    run(faces)  # the first call prepares kernels for this shape
    times: list[float] = []
    while len(times) < 3 or sum(times) < budget_s:
        started = time.perf_counter()
        run(faces)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _torch(net: ExpressionNet) -> Run:
    import torch

    def run(faces: NDArray[np.uint8]) -> Any:
        with torch.inference_mode():
            return net(torch.from_numpy(faces))

    return run


def _onnxruntime(path: Path) -> Run:
    session = onnxruntime_session(path)
    name = session.get_inputs()[0].name
    return lambda faces: session.run(None, {name: faces})


def onnxruntime_session(path: Path) -> Any:
    """Return ONNX Runtime's session of a file, with the threads that this process computes with; none spins."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.current()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
