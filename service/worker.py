"""What runs in the worker, a process of its own: decoding and the model, in native code that a bad image may crash."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from ferops.datasets.images import decode
from ferops.inference import answer as answers
from ferops.inference.answer import Answer
from ferops.inference.predictor import Predictor
from ferops.records.release import Release

_PR_SET_PDEATHSIG = 1

_loaded: tuple[Predictor, Release] | None = None


def load(model: Path, release: Release, parent: int) -> int:
    """Load the model, once per worker, and return the worker's process id.

    Args:
        model: folder of the exported model.
        parent: process id of the server; its end, even by SIGKILL, ends the worker.
    """
    global _loaded  # noqa: PLW0603 # the process exists for this one value
    die_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the server ends its worker in order
        signal.signal(number, signal.SIG_IGN)
    _loaded = (Predictor(model), release)
    return os.getpid()


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the process `parent`, which must have started it, ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os.kill(os.getpid(), signal.SIGKILL)


def predict(encoded: bytes) -> Answer:
    """Return the answer for an encoded image.

    Raises:
        UnreadableImageError: it cannot be decoded.
    """
    assert _loaded is not None  # `load` is the first call
    predictor, release = _loaded
    start = time.perf_counter()
    pixels = decode(encoded, max_megapixels=release.limits.max_image_megapixels)
    decoded = time.perf_counter()
    prediction = predictor.predict([pixels], max_faces=release.limits.max_faces)[0]
    end = time.perf_counter()
    return answers.answer(
        prediction,
        classes=predictor.config.classes,
        release=release,
        width=pixels.shape[1],
        height=pixels.shape[0],
        timing_ms={"decode": 1e3 * (decoded - start), "predict": 1e3 * (end - decoded)},
    )
