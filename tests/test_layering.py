"""A package imports only packages to its left; the graph is read from the source, not from a run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ferops"

ORDER = [
    "datasets",
    "validation",
    "split",
    "faces",
    "training",
    "export",
    "evaluation",
    "registry",
    "scoring",
    "bento",
    "package",
    "starter",
]
COMMON = {"config", "errors", "files", "layout", "machine", "provenance", "uses"}
# `inference` stands beside the order: what it may use, and who may use it
INFERENCE_USES = {"datasets", "faces", "export"}
INFERENCE_USERS = {"evaluation", "inference"}
# Around the pipeline: settings files, the DAG's caller and the local stack
OUTSIDE = {"presets", "dag", "ports", "processes", "stack", "summary"}
# These wire the packages together and may import any of them
WIRING = {"cli", "reconcile", "run", "__main__"}


def _imports(path: Path) -> Iterator[str]:
    """Yield the first component below `ferops` of everything that the file imports, at any depth of nesting."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ferops":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ferops."))


def _component(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_left(path: Path) -> None:
    here = _component(path)
    used = set(_imports(path)) - COMMON - {here, "__version__"}
    if here in WIRING:
        return
    if here == "inference":
        assert used <= INFERENCE_USES
    elif here in ORDER:
        left = set(ORDER[: ORDER.index(here)])
        assert used <= left | ({"inference"} if here in INFERENCE_USERS else set())
    else:
        assert used <= WIRING | OUTSIDE, f"{here} is not in the order; say here where it stands"


def test_the_order_names_what_exists() -> None:
    components = {_component(path) for path in SOURCE.rglob("*.py")}
    assert set(ORDER) <= components
