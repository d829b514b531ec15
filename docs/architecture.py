"""`python docs/architecture.py`: draw the packages of ferops and their imports into docs/architecture.md."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "ferops"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- drawing: python docs/architecture.py -->\n", "<!-- end of the drawing -->\n"

ORDER = (
    "datasets",
    "validation",
    "drift",
    "split",
    "faces",
    "audit",
    "training",
    "export",
    "inference",
    "evaluation",
    "registry",
    "scoring",
    "starter",
    "packaging",
    "orchestration",
    "local",
    "cli",
)
"""The packages; each imports only those before it, and what is common."""

COMMON = (
    "classes",
    "config",
    "errors",
    "escape",
    "files",
    "formats",
    "layout",
    "machine",
    "model_config",
    "pages",
    "plots",
    "presets",
    "private",
    "provenance",
    "records",
    "scratch",
    "tables",
    "threads",
    "uses",
)
"""What every package may import; these import only each other."""


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the dotted name below `ferops` of everything that a file imports from it, at any depth of nesting."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("ferops.") for alias in node.names if alias.name.startswith("ferops."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ferops":
            base = node.module.removeprefix("ferops").removeprefix(".")
            for alias in node.names:
                name = f"{base}.{alias.name}".removeprefix(".")
                is_module = name in _modules()
                if is_module or base:
                    yield name if is_module else base


def module_name(path: Path) -> str:
    """Return the dotted name of a source file below `ferops`; a package has that of its folder."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_graph() -> dict[str, set[str]]:
    """Return the modules of ferops, and for each the modules that it imports."""
    files = {
        module_name(path): path
        for path in sorted(SOURCE.rglob("*.py"))
        if path.parent != SOURCE or path.stem != "__init__"
    }
    return {name: set(imported_modules(path)) - {name} for name, path in files.items()}


def package_graph() -> dict[str, set[str]]:
    """Return the packages in ORDER, and for each the other packages that it imports; what is common is left out."""
    graph: dict[str, set[str]] = {name: set() for name in ORDER}
    for module, used in module_graph().items():
        package = module.split(".")[0]
        if package in graph:
            graph[package] |= {each.split(".")[0] for each in used} & (graph.keys() - {package})
    return graph


def drawing() -> str:
    """Return the packages and their imports as a Mermaid graph."""
    lines = ["```mermaid", "graph LR"]
    for package, used in package_graph().items():
        if package == "cli":  # wires all of them together
            continue
        lines += [f"  {package}"] if not used else []
        lines += [f"  {other} --> {package}" for other in ORDER if other in used]
    return "\n".join([*lines, "```", ""])


def page() -> str:
    """Return the page with the current drawing."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return before + BEGIN + drawing() + END + rest.partition(END)[2]


@functools.cache
def _modules() -> set[str]:
    return {module_name(path) for path in SOURCE.rglob("*.py")}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
