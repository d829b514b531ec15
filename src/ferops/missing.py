"""Which extra of ferops brings a package that is not installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

# Modules whose package has another name
PACKAGES = {
    "faiss": "faiss-cpu",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "sklearn": "scikit-learn",
}
# The smallest first: an extra that another one holds is named itself
EXTRAS = ("serve", "train")


def need(module: str) -> None:
    """Raise ModuleNotFoundError where a module is not installed, before anything is begun that ends with it."""
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def remedy(error: ModuleNotFoundError) -> str | None:
    """Return what to tell a person whose installation of ferops lacks a module, or None: no extra brings it."""
    module = (error.name or "ferops").partition(".")[0]
    if module == "ferops":
        return None
    package = PACKAGES.get(module, re.sub(r"[_.]+", "-", module)).lower()
    lines = importlib.metadata.requires("ferops") or []
    for extra in EXTRAS:
        if any(re.match(rf"{re.escape(package)}\b(?!-).*extra == .{extra}.", line) for line in lines):
            return f"this needs {package}, which is not installed: pip install 'ferops[{extra}]' (docs/predict.md)"
    return None
