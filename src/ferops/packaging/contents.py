"""The contents of a Bento besides the service: the modules that serving imports, the model, and pinned packages.

Modules and packages are computed from the import statements of the sources; no list is kept by hand.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ferops
from ferops.errors import FeropsError
from ferops.faces.detectors import quickest, require_known
from ferops.files import require
from ferops.model_config import ExportConfig

SOURCE = Path(ferops.__file__).parent

# Modules of extras that serving does without: where they are absent, the service refuses such images and says why
OPTIONAL = {"pillow_heif"}

# Of the starter model: the licence terms go wherever the weights go
TEXTS = ("MODEL_CARD.md", "NOTICE")


@dataclass(frozen=True)
class Contents:
    """What the service needs.

    Attributes:
        files: of ferops: modules, and the data files of their packages.
        imported: names of the modules of other packages that are imported, such as `PIL.Image`.
    """

    files: frozenset[Path]
    imported: frozenset[str]


def required_contents(service: Path, *, detector: str) -> Contents:
    """Return everything that the modules in the folder `service` import, directly or not, with that detector.

    Raises:
        FeropsError: the detector is unknown.
    """
    queue = [name for path in service.glob("*.py") for name in imported_modules(path)]
    queue.append(require_known(quickest(detector)).partition(":")[0])
    files: set[Path] = set()
    others: set[str] = set()
    while queue:
        name = queue.pop()
        package = name.partition(".")[0]
        if package != "ferops":
            if package not in sys.stdlib_module_names and package != service.name:
                others.add(name)
            continue
        for file in _module_files(name):
            if file not in files:
                files.add(file)
                queue += imported_modules(file)
    data = {path for file in files if file.name == "__init__.py" for path in _data_files(file.parent)}
    return Contents(files=frozenset(files | data), imported=frozenset(others))


def imported_modules(path: Path) -> set[str]:
    """Return the dotted names that a source file imports at run time, anywhere in it; some may name no module."""
    found: set[str] = set()

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:  # the name that ast asks for
            typing_only = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
            for child in node.orelse if typing_only else ast.iter_child_nodes(node):
                self.visit(child)

        def visit_Import(self, node: ast.Import) -> None:
            found.update(alias.name for alias in node.names)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            found.update({str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)})

    Visitor().visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def copy_model(source: Path, target: Path, config: ExportConfig) -> None:
    """Copy config.json, the served file and the texts that must accompany it, but not the other precision."""
    target.mkdir()
    for name in ("config.json", config.served, *(name for name in TEXTS if (source / name).exists())):
        shutil.copyfile(source / name, target / name)


def copy_ferops(files: Iterable[Path], target: Path) -> None:
    """Copy `files` of ferops to the same places below `target`."""
    for file in files:
        copy = target / file.relative_to(SOURCE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def pinned_requirements(imported: Iterable[str], lock: Path) -> list[str]:
    """Return the packages of the `imported` modules, and their dependencies, as they stand in the lock file.

    So they keep their hashes, on the same line, and whoever installs the Bento gets the very files or an error.

    Args:
        imported: names of modules that are installed here, or in OPTIONAL.
        lock: requirements of the form `name==version`, each followed by its indented hashes.

    Raises:
        FeropsError: a package is not installed, or not pinned.
    """
    entries = re.split(r"\n(?=\S)", require(lock, made_by="git checkout").read_text(encoding="utf-8"))
    pinned = {
        canonicalize_name(name): re.sub(r"\s*\\\n\s*", " ", entry.rstrip())  # on one line
        for entry in entries
        for name, found, _ in [entry.partition("==")]
        if found and not name.startswith("#")
    }
    installed = _installed_modules()
    wanted: dict[str, str] = {}
    queue: list[Requirement] = []
    for module in sorted({".".join(name.split(".")[:2]) for name in imported}):
        candidates = installed.get(module.partition(".")[0], [])
        if not candidates and module in OPTIONAL:
            continue
        if not candidates:
            raise FeropsError(f"the service imports {module}, which is not installed. Reinstall ferops")
        if len(candidates) > 1:  # a namespace (ruamel, google), or a module of two packages (cv2)
            candidates = [name for name in candidates if canonicalize_name(name) in pinned]
            candidates = [name for name in candidates if _holds(name, module)] or candidates
        queue += [Requirement(name) for name in candidates]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in wanted:
            continue
        if name not in pinned:
            raise FeropsError(
                f"{lock} does not pin {name}, which the service needs. Add {name} to pyproject.toml, then: make lock"
            )
        wanted[name] = pinned[name]
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(needed)
    return [wanted[name] for name in sorted(wanted)]


def _holds(package: str, module: str) -> bool:
    """Return whether an installed package has files of the dotted name `module`."""
    return any(str(file).startswith(module.replace(".", "/")) for file in importlib.metadata.files(package) or ())


@cache
def _installed_modules() -> Mapping[str, list[str]]:
    """Return the packages of each installed module; asking takes a second."""
    return importlib.metadata.packages_distributions()


def _module_files(name: str) -> list[Path]:
    """Return the files that importing `name` runs: its packages, and the module itself if it is one."""
    parts = name.split(".")
    paths = [SOURCE.parent.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    candidates = [file for path in paths for file in (path / "__init__.py", path.with_suffix(".py"))]
    return [file for file in candidates if file.exists()]


def _data_files(package: Path) -> list[Path]:
    """Return the data files of a package, without those of sub-packages."""
    found: list[Path] = []
    for path in package.iterdir():
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").exists():
            found += _data_files(path)
        elif path.is_file() and path.suffix != ".py":
            found.append(path)
    return found
