"""A stage must run again when the code changes that it is made of: dvc.yaml names all that its package imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGES = {
    "validate": "validation",
    "split": "split",
    "preprocess": "faces",
    "train": "training",
    "export": "export",
    "evaluate": "evaluation",
    "register": "registry",
}
# What every stage uses, and what shapes no result: settings are params, the others are about files and words
PLUMBING = {"classes", "config", "errors", "files", "layout", "machine", "provenance", "records", "uses"}
WORDS = {SOURCE / "ferops" / "datasets" / "catalogue.py"}  # citations and licence notes

DAG: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def _imports(path: Path) -> Iterator[Path]:
    """Yield the files of ferops that `path` imports, at any depth of nesting."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("ferops."):
                file = (SOURCE / name.replace(".", "/")).with_suffix(".py")
                if file.exists():
                    yield file


def _reached(start: Path) -> set[Path]:
    seen: set[Path] = set()
    todo = [start]
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += _imports(path)
    return seen


@pytest.mark.parametrize("name", DAG)
def test_a_stage_depends_on_all_the_code_that_it_imports(name: str) -> None:
    stage = DAG[name].get("do", DAG[name])
    deps = [ROOT / dependency for dependency in stage["deps"]]
    reached = _reached(SOURCE / "ferops" / PACKAGES[name] / "stage.py")
    assert len(reached) > 1
    missing = [
        str(path.relative_to(ROOT))
        for path in sorted(reached - WORDS)
        if path.relative_to(SOURCE / "ferops").with_suffix("").parts[0] not in PLUMBING
        and not any(path.is_relative_to(dependency) for dependency in deps)
    ]
    assert missing == []


def test_a_split_depends_on_the_manifest_alone() -> None:
    """Not on data/: a re-split after a changed setting must not wait for anything else."""
    data = [dependency for dependency in DAG["split"]["deps"] if not str(dependency).startswith("src/")]
    assert data == ["artifacts/validate/manifest.parquet"]
    assert DAG["split"]["params"] == ["seed", "split"]
