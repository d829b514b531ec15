"""The face detectors by name (`preprocess.detector`); docs/detectors.md compares them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pkgutil import resolve_name

from ferops.config import FaceSettings
from ferops.errors import FeropsError
from ferops.faces.detection import Detector

GROUP = "ferops.detectors"
"""Installed packages add detectors by declaring entry points of this group."""

REGISTRY = {
    "mtcnn": "ferops.faces.detectors.mtcnn:Mtcnn",
    "yunet": "ferops.faces.detectors.yunet:Yunet",
    "centerface": "ferops.faces.detectors.centerface:CenterFace",
}
"""Name -> `module:class`. A class takes `min_confidence` and `threads` by keyword; its module is imported on use."""

QUICK = {"mtcnn": "yunet"}
"""Detector -> one that finds its faces in less time, for answers; trainings keep the pixels that they always had."""


def names() -> dict[str, str]:
    """Return all detectors: REGISTRY and those of installed packages."""
    return {point.name: point.value for point in entry_points(group=GROUP)} | REGISTRY


def require_known(name: str) -> str:
    """Return the `module:class` of the detector `name`.

    Raises:
        FeropsError: there is no such detector; the message lists the known ones.
    """
    known = names()
    if name not in known:
        raise FeropsError(
            f"preprocess.detector is {name!r}. Supported detectors: {', '.join(sorted(known))}. To use another, "
            f"install a package with an entry point of the group {GROUP} (docs/detectors.md)"
        )
    return known[name]


def quickest(name: str) -> str:
    """Return the detector that answers where `name` made the training faces: QUICK, or `name` itself."""
    return QUICK.get(name, name)


def from_settings(settings: FaceSettings, *, threads: int | None = None) -> Detector:
    """Return the detector that `settings` name; see `build`."""
    return build(settings.detector, min_confidence=settings.min_confidence, threads=threads)


def build(name: str, *, min_confidence: float, threads: int | None = None) -> Detector:
    """Return the detector `name` (`preprocess.detector`).

    Detectors run on the CPU, so that machines with a GPU find the same faces. On many cores, several processes of one
    thread are faster than one detector with many threads.

    Args:
        min_confidence: drop faces with a lower score, 0-1. Detectors have different scales: 0.9 suits `mtcnn` and
            `yunet`, 0.5 suits `centerface`.
        threads: CPU threads; None for those of `ferops.threads`.

    Raises:
        FeropsError: there is no such detector, or its weights are not installed; the message has the install command.
    """
    make: Callable[..., Detector] = resolve_name(require_known(name))
    return make(min_confidence=min_confidence, threads=threads)
