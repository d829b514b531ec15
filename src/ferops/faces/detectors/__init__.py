"""The face detectors there are, by name (`preprocess.detector`); docs/detectors.md compares them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ferops.errors import FeropsError
from ferops.faces.detection import Detector

REGISTRY = {"mtcnn": "ferops.faces.detectors.mtcnn:Mtcnn", "centerface": "ferops.faces.detectors.centerface:CenterFace"}
"""Name -> module and class. A class takes `min_confidence` by keyword; its module is imported when it is asked for."""


def build(name: str, *, min_confidence: float) -> Detector:
    """Return the detector of that name (`preprocess.detector`).

    Detectors run on the CPU, so that a machine with a GPU finds the very same faces, and with as many threads as
    PyTorch has when they are built. On many cores, build one per process after torch.set_num_threads(1): that is
    faster than many threads for one.

    Args:
        min_confidence: faces with a lower score are dropped, 0-1. Scores of different detectors are different scales:
            0.9 suits `mtcnn`, 0.5 `centerface`.

    Raises:
        FeropsError: no detector has that name, or its weights are not installed; the message has the command.
    """
    if name not in REGISTRY:
        raise FeropsError(f"preprocess.detector is {name!r}. Supported detectors: {', '.join(REGISTRY)}")
    module, _, factory = REGISTRY[name].partition(":")
    make: Callable[..., Detector] = getattr(import_module(module), factory)
    return make(min_confidence=min_confidence)
