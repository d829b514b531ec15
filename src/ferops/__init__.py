"""ferops: an MLOps pipeline for facial-expression recognition."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferops.inference.predictor import Predictor as Predictor

__version__ = "0.2.0"
__all__ = ["Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    """Import what users take from here when they ask for it: `import ferops` itself costs nothing."""
    if name == "Predictor":
        return import_module("ferops.inference.predictor").Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
