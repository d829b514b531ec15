"""The two files: ONNX in FP32, and its INT8 version with quantise-dequantise pairs."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from ferops.training.model import ExpressionNet

INPUT, OUTPUT = "faces", "logits"

OPSET = 17
"""Old enough for every runtime of the last years; nothing in a ResNet needs a newer one."""

QUANTISED = ["Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool", "Gemm"]
"""The network proper. Normalising the pixels stays in FP32: rounding it would cost detail and gain no time."""


def write_onnx(net: ExpressionNet, path: Path) -> None:
    """Write `net` (in evaluation mode, on the CPU) with a free batch size; see docs/files.md for the signature.

    By torch.onnx's TorchScript exporter: the newer one needs another package and gives a ResNet the same graph.
    """
    import torch

    faces = torch.zeros((2, net.size_px, net.size_px, 3), dtype=torch.uint8)
    free = {0: "batch"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="The feature will be removed", category=DeprecationWarning)
        torch.onnx.export(
            net,
            (faces,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: free, OUTPUT: free},
        )


def write_int8(onnx_file: Path, path: Path, faces: NDArray[np.uint8]) -> None:
    """Write the static INT8 version of `onnx_file`: per-channel weights, activation ranges seen on `faces`.

    Args:
        faces: uint8 `(N, S, S, 3)` from the training split: never from the splits that judge.
    """
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Folds batch norms and infers shapes; the symbolic inference is for transformers
        quant_pre_process(onnx_file, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            _Reader(faces),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands out the calibration faces in batches, once."""

    def __init__(self, faces: NDArray[np.uint8], batch_size: int = 32) -> None:
        self._batches: Iterator[NDArray[np.uint8]] = iter(
            faces[start : start + batch_size] for start in range(0, len(faces), batch_size)
        )

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}
