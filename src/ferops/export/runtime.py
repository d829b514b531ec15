"""The exported model as it is served. No torch here, so that the service starts fast and stays small."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.config import Tta
from ferops.errors import FeropsError
from ferops.export.calibration import probabilities
from ferops.export.views import pooled
from ferops.machine import openvino_core
from ferops.model_config import ExportConfig, read_model_config
from ferops.threads import limit

MAX_BATCH = 32
"""Faces in one pass: more would be no faster on a CPU and take more memory."""


class Classifier:
    """Logits and calibrated probabilities of faces, by OpenVINO on the CPU.

    OpenVINO was the fastest runtime for the INT8 file: a ResNet-50 at 224 px took 7 ms, against 44 ms in ONNX Runtime,
    on 2 cores with AMX (benchmarks/infer.py repeats the measurement). What is not quantised is computed in FP32 even if
    the CPU has bf16, so that the service gives the evaluated probabilities, up to rounding.

    Thread-safe: passes run one after the other, each on all `threads`.

    Attributes:
        config: as it lies in the folder.
        tta: the test-time augmentation in use.
    """

    def __init__(
        self, folder: Path, *, served: str | None = None, tta: Tta | None = None, threads: int | None = None
    ) -> None:
        """Load `folder`, as made by the stage `export`.

        Args:
            served, tta: the file to run, and test-time augmentation; by default those in config.json, for which the
                temperature was fitted.
            threads: CPU threads; None for those of `ferops.threads`.

        Raises:
            FeropsError: the folder is missing or incomplete, a file is damaged, or the files do not match.
        """
        self.config = read_model_config(folder, ExportConfig)
        self.tta: Tta = tta or self.config.tta
        file = folder / (served or self.config.served)
        self._model = compile_onnx(file, threads=threads)
        self._lock = threading.Lock()
        size = self.config.size_px
        faces, logits = self._model.input(0).partial_shape, self._model.output(0).partial_shape
        if str(faces) != f"[?,{size},{size},3]" or str(logits) != f"[?,{len(self.config.classes)}]":
            raise FeropsError(
                f"{file} maps faces {faces} to logits {logits}, but config.json has {size} px and "
                f"{len(self.config.classes)} classes: they come from different exports. "
                "Run: dvc repro --force export"
            )

    def logits(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 `(N, K)` in the order of `config.classes`, for RGB uint8 `(N, S, S, 3)`; N may be 0.

        With test-time augmentation they are the logarithm of the mean over the views (`ferops.export.views.pooled`).

        Raises:
            FeropsError: `faces` has another type or shape.
        """
        size = self.config.size_px
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1:] != (size, size, 3):
            raise FeropsError(
                f"the classifier takes uint8 faces (N, {size}, {size}, 3), found {faces.dtype} {faces.shape}"
            )
        result = np.empty((len(faces), len(self.config.classes)), np.float32)
        for start in range(0, len(faces), MAX_BATCH):
            result[start : start + MAX_BATCH] = pooled(self._pass, faces[start : start + MAX_BATCH], self.tta)
        return result

    def _pass(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self._lock:  # a compiled model has one request in flight
            logits: NDArray[np.float32] = self._model(np.ascontiguousarray(batch))[0]
        return logits

    def probabilities(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return calibrated probabilities float32 `(N, K)`; rows sum to 1. Input and errors as for `logits`."""
        return probabilities(self.logits(faces), self.config.temperature)


def compile_onnx(path: Path, *, threads: int | None = None, precision: str = "f32") -> Any:
    """Return OpenVINO's compiled model of an ONNX file, set for the lowest latency of one request at a time.

    `precision` is the type of what is not quantised: `f32`, or `bf16` if the CPU has it. It is always set, because
    OpenVINO's default depends on the CPU.

    Raises:
        FeropsError: the file is missing or not an ONNX model.
    """
    if not path.is_file():
        raise FeropsError(f"{path} does not exist. Make it: dvc repro export")
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "ENABLE_CPU_PINNING": False,  # one thread would always run on the first core, however busy
    }
    if threads := threads or limit():
        settings["INFERENCE_NUM_THREADS"] = threads
    core = openvino_core()
    try:
        return core.compile_model(core.read_model(path), "CPU", settings)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise FeropsError(
            f"{path} is damaged or not an ONNX model ({reason}). Make it again: dvc repro --force export"
        ) from error
