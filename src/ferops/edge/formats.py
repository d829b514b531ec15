"""The formats by name: who reads them, what writes them, and which package that takes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ferops.edge import runners, writers
from ferops.edge.runners import Run
from ferops.edge.source import Source
from ferops.errors import FeropsError
from ferops.records.conversion import Format


@dataclass(frozen=True)
class Target:
    """A format.

    Attributes:
        file: the name of the file, or of the folder, that is written.
        write: writes it.
        open: makes it answer.
        packages: the modules that both need.
        install: what installs them.
        precision: of the file; None for that of the served file, from which it is made.
        runs_here: whether this system has the runtime at all.
        check: raises FeropsError where the machine cannot write it.
    """

    file: str
    write: Callable[[Source, Path], None]
    open: Callable[[Path], Run]
    packages: tuple[str, ...] = ()
    install: str = ""
    precision: str | None = None
    runs_here: bool = True
    check: Callable[[], None] = lambda: None


TARGETS: dict[Format, Target] = {
    "onnx": Target("model.onnx", writers.onnx, runners.onnx),
    "openvino": Target("model.xml", writers.openvino, runners.openvino),
    "tflite": Target(
        "model.tflite",
        writers.tflite,
        runners.tflite,
        packages=("litert_torch", "ai_edge_litert"),
        install="the packages that docs/edge.md lists for it",
        precision="fp32",
    ),
    "executorch": Target(
        "model.pte",
        writers.executorch,
        runners.executorch,
        packages=("executorch",),
        install="pip install 'ferops[executorch]'",
        precision="fp32",
    ),
    "coreml": Target(
        "model.mlpackage",
        writers.coreml,
        runners.coreml,
        packages=("coremltools",),
        install="pip install 'ferops[coreml]'",
        precision="fp16",
        runs_here=sys.platform == "darwin",
    ),
    "tensorrt": Target(
        "model.engine",
        writers.tensorrt,
        runners.tensorrt,
        packages=("tensorrt",),
        install="pip install 'ferops[tensorrt]'",
        precision="tf32",
        check=writers.require_gpu,
    ),
}


def formats_of(names: Sequence[str]) -> list[Format]:
    """Return the formats that a person names, each once. Raises FeropsError: one is unknown."""
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        raise FeropsError(f"found --for {unknown[0]}. Supported formats: {', '.join(TARGETS)}")
    return [name for name in TARGETS if name in names]


def require_installed(name: Format) -> None:
    """Raises FeropsError: the machine cannot write this format; the message says what it takes."""
    target = TARGETS[name]
    target.check()
    missing = [package for package in target.packages if find_spec(package) is None]
    if missing:
        raise FeropsError(
            f"{name} is written by {' and '.join(missing)}, which is not installed here. Install: {target.install}"
        )
