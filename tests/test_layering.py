"""Packages import only packages to their left, and no modules import each other: read from the source."""

from __future__ import annotations

import graphlib
from pathlib import Path

import pytest
from docs.architecture import COMMON, DRAWING, ORDER, SOURCE, drawing, module_graph, module_name

GRAPH = module_graph()


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_imports_point_left(module: str) -> None:
    package = module.split(".", maxsplit=1)[0]
    used = {name.split(".")[0] for name in GRAPH[module]} - {package, "__version__"}
    if package == "__main__":
        assert used == {"cli"}
    elif package in COMMON:
        assert used <= set(COMMON)
    else:
        assert package in ORDER, f"say in docs/architecture.py where {package} stands"
        assert used <= {*COMMON, *ORDER[: ORDER.index(package)]}


def test_no_modules_import_each_other() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the modules


def test_the_order_names_what_exists() -> None:
    found = {module_name(path).split(".")[0] for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py"}
    assert found == {*ORDER, *COMMON, "__main__"}


def test_the_drawing_is_current() -> None:
    assert DRAWING.read_text(encoding="utf-8") == drawing(), "draw it again: python docs/architecture.py"


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    """`ferops --help` must answer at once: what the verbs import at the top is light."""
    heavy = ("import pandas", "import torch", "import mlflow", "import numpy", "from prefect", "import dvc")
    for path in (Path(SOURCE) / "cli").glob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith(heavy)], path
