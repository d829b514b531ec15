"""`python docs/architecture.py`: draw the packages of ferops and their imports, docs/images/packages.svg."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "ferops"
DRAWING = ROOT / "docs" / "images" / "packages.svg"

ORDER = (
    "datasets",
    "validation",
    "drift",
    "split",
    "faces",
    "audit",
    "training",
    "export",
    "edge",
    "inference",
    "video",
    "evaluation",
    "across",
    "explanation",
    "robustness",
    "fairness",
    "registry",
    "starter",
    "scoring",
    "review",
    "monitoring",
    "rollout",
    "packaging",
    "orchestration",
    "local",
    "cli",
)
"""The packages; each imports only those before it, and what is common."""

COMMON = (
    "api_keys",
    "classes",
    "config",
    "errors",
    "escape",
    "files",
    "formats",
    "layout",
    "machine",
    "markup",
    "missing",
    "model_config",
    "pages",
    "plots",
    "pool",
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
    """Return the packages, one below the other, with an arc from each to those that import it, as SVG."""
    graph = {name: used for name, used in package_graph().items() if name != "cli"}  # cli wires all of them together
    row, left, top = 28, 130, 20  # px
    y = {name: top + row * i for i, name in enumerate(graph)}
    longest = max(y[name] - y[other] for name, used in graph.items() for other in used)
    width, height = left + longest // 2 + 20, top + row * len(graph)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<rect width="{width}" height="{height}" rx="6" fill="#fff"/>',
        '<marker id="to" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="context-stroke"/></marker>',
    ]
    for i, (name, place) in enumerate(y.items()):
        colour = f"hsl({i * 360 // len(y)} 65% 40%)"  # of the arcs that leave a package
        lines.append(
            f'<text x="{left - 12}" y="{place + 5}" text-anchor="end" font-family="sans-serif" font-size="15" '
            f'fill="{colour}">{name}</text>'
        )
        for other in [each for each, used in graph.items() if name in used]:
            radius = (y[other] - place) / 2
            lines.append(
                f'<path d="M{left} {place}A{radius:g} {radius:g} 0 0 1 {left} {y[other]}" fill="none" '
                f'stroke="{colour}" stroke-width="1.5" marker-end="url(#to)"/>'
            )
    return "\n".join([*lines, "</svg>", ""])


@functools.cache
def _modules() -> set[str]:
    return {module_name(path) for path in SOURCE.rglob("*.py")}


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
