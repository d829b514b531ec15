"""What the served file costs, measured on the machine that runs the stage."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferops import threads
from ferops.export.runtime import Classifier
from ferops.machine import cpu_name
from ferops.records.metrics import Cost, Latency

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "QLinearConv", "QLinearMatMul")
WARM_UP, REPEATS = 3, 50
BATCH, BATCH_REPEATS = 32, 3


def cost(model: Path, classifier: Classifier, faces: NDArray[np.uint8]) -> Cost:
    """Return parameters, size, latency of single faces, throughput in batches, and the CPU.

    Args:
        model: the served ONNX file.
        classifier: that file, loaded.
        faces: `(N, S, S, 3)`, at least one; up to 50 of them are timed, each alone, the first calls thrown away.
    """
    singles = [np.ascontiguousarray(faces[i % len(faces)])[None] for i in range(REPEATS)]
    for single in singles[:WARM_UP]:
        classifier.logits(single)
    milliseconds = np.array([_seconds(classifier, single) for single in singles]) * 1e3
    batch = np.ascontiguousarray(faces[np.arange(BATCH) % len(faces)])
    classifier.logits(batch)
    fastest = min(_seconds(classifier, batch) for _ in range(BATCH_REPEATS))
    return Cost(
        parameters=parameters(model),
        file_mb=round(_bytes(model) / 1e6, 3),
        latency_ms=Latency(
            p50=round(float(np.quantile(milliseconds, 0.5)), 3),
            p95=round(float(np.quantile(milliseconds, 0.95)), 3),
            batch=1,
            repeats=REPEATS,
        ),
        images_per_s=round(BATCH / fastest, 1),
        images_per_s_batch=BATCH,
        cpu=cpu_name(),
        cpu_cores=threads.current(),
    )


def parameters(model: Path) -> int:
    """Return how many weights and biases the layers of an ONNX file use, quantised ones included.

    Batch normalisation that the export folded into a convolution is gone, so this is a little less than the trained
    network has. Equal tensors that the export stored once count for every layer that uses them.
    """
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    sizes = {one.name: int(np.prod(one.dims, dtype=np.int64)) for one in graph.initializer}
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("DequantizeLinear", "Identity")}

    def size(name: str) -> int:
        while name in source:
            name = source[name]
        return sizes.get(name, 0)

    return sum(size(name) for node in graph.node if node.op_type in WEIGHTED for name in node.input[1:])


def _seconds(classifier: Classifier, faces: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    classifier.logits(faces)
    return time.perf_counter() - start


def _bytes(model: Path) -> int:
    """Size with the external data that ONNX may keep beside the file."""
    return sum(path.stat().st_size for path in model.parent.glob(f"{model.name}*"))
