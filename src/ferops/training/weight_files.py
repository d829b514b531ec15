"""Files of weights as training loops write them: safetensors, or what `torch.save` made, of which no code is run.

A checkpoint holds more than tensors: settings, an optimiser, numpy's numbers, whole modules. torch's restricted
unpickler makes objects of the classes only that it is given, so each class that it does not know is read as a bag that
keeps what the file puts in and does nothing. The weights are then searched for in all that was read.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ferops.errors import FeropsError

SAVE = 'save_file(model.state_dict(), "weights.safetensors"), with `from safetensors.torch import save_file`'
_DEPTH = 4  # of dicts within dicts; a checkpoint of Lightning has 2
_LEGACY_PICKLES = 4  # magic number, protocol, machine, content: files before PyTorch 1.6
_NAMED = 6  # of the keys or globals in a message
_NO_WEIGHTS = {
    b"<": "it is a web page, not the file that was to be downloaded",
    b"version https://git-lfs": "it is a pointer of Git LFS; `git lfs pull` fetches the file itself",
    b"\x89HDF": "it is an HDF5 file, as Keras writes it, with other names and shapes",
}
"""What some files that are given for weights begin with, and what they are."""


@dataclass(frozen=True)
class Found:
    """Weights by layer name, without `prefix`; `place` is their key in the file ("" where they are all of it), and
    `outside` the names in the same set that lack the prefix."""

    tensors: dict[str, Tensor]
    place: str = ""
    prefix: str = ""
    outside: tuple[str, ...] = ()


def read_weights(path: Path, *, wanted: Mapping[str, Tensor]) -> Found:
    """Return the set of tensors in a file that has most of the names in `wanted`, whatever stands before the names.

    Of sets that fit alike, an average of weights (`ema`) is taken before the last weights.

    Raises:
        FeropsError: the file is damaged, no file of weights, or holds no tensors by name; what it holds is named.
    """
    content = _read(path)
    sets = [_fitted(tensors, place, wanted) for place, tensors in _sets(content)]
    if not sets:
        keys = (
            f"it has {few([str(key) for key in content])}"
            if isinstance(content, dict) and content
            else "it has no names"
        )
        raise FeropsError(f"{path} does not hold weights by layer name: {keys}. Write them where they are: {SAVE}")
    return max(sets, key=lambda one: (len(one.tensors.keys() & wanted.keys()), "ema" in one.place, len(one.tensors)))


def _read(path: Path) -> Any:
    """Read a file; classes that torch does not know become bags."""
    unknown: list[str] = []
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        unknown = _unknown_globals(path)
        bags: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
            (_Opaque if name.startswith(("numpy.", "functools.")) else _Bag, name) for name in unknown
        ]
        with torch.serialization.safe_globals(bags):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise a dozen kinds
        raise FeropsError(
            f"{path} is not a readable file of weights ({_reason(path, error)}). "
            + (f"It holds objects of {few(sorted(unknown))}: code, which is not run. " if unknown else "")
            + "Supported: .safetensors, and files of torch.save with tensors, numbers and settings. "
            f"Convert others where they were made: {SAVE}"
        ) from error


def _reason(path: Path, error: Exception) -> str:
    """Say what is wrong without torch's lines that advise to run what is in the file."""
    with path.open("rb") as file:
        begins = file.read(64)
    for start, what in _NO_WEIGHTS.items():
        if begins.startswith(start):
            return what
    if isinstance(error, ValueError) and "opcode" in str(error):  # of pickletools
        return "it is neither an archive nor a pickle of torch.save"
    lines = (str(error).partition("WeightsUnpickler error:")[2] or str(error)).strip().splitlines()
    return next((line for line in lines if line and "weights_only" not in line), type(error).__name__)


class _Bag:
    """Stands for an object of any class, which then is a dict: its items, and in `__dict__` its attributes."""

    def __new__(cls, *_: object, **__: object) -> OrderedDict[str, Any]:  # type: ignore[misc]
        return OrderedDict()


class _Opaque:
    """Stands for numpy's numbers, and other objects whose state is a tuple."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _unknown_globals(path: Path) -> list[str]:
    """Return the classes and functions that a file of `torch.save` names and torch does not allow."""
    if zipfile.is_zipfile(path):
        return torch.serialization.get_unsafe_globals_in_checkpoint(path)
    with path.open("rb") as file:
        found = {
            str(argument).replace(" ", ".").replace("__builtin__.", "builtins.")
            for _ in range(_LEGACY_PICKLES)
            for code, argument, _ in pickletools.genops(file)
            if code.name == "GLOBAL"
        }
    return [name for name in found if not name.startswith("torch.")]


def _sets(content: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each set of tensors by name in what was read, a module's too, with the keys that lead to it."""
    if not isinstance(content, dict) or depth > _DEPTH:
        return
    tensors = _of_module(content) or {
        name: one for name, one in content.items() if isinstance(name, str) and isinstance(one, Tensor)
    }
    if tensors:
        yield place, tensors
    for key, value in content.items():
        yield from _sets(value, f"{place}.{key}" if place else str(key), depth + 1)


def _of_module(content: dict[Any, Any], before: str = "") -> dict[str, Tensor]:
    """Return the tensors of a pickled module, as its `state_dict()` names them; none of anything else."""
    own = getattr(content, "__dict__", {})
    tensors = {
        f"{before}{name}": one
        for kind in ("_parameters", "_buffers")
        for name, one in (own.get(kind) or {}).items()
        if isinstance(one, Tensor) and name not in (own.get("_non_persistent_buffers_set") or ())
    }
    for name, part in (own.get("_modules") or {}).items():
        tensors |= _of_module(part, f"{before}{name}.") if isinstance(part, dict) else {}
    return tensors


def _fitted(tensors: dict[str, Tensor], place: str, wanted: Mapping[str, Tensor]) -> Found:
    """Take off what stands before most names, as `module.` or `model.backbone.`, and `_orig_mod.` of compiled parts."""
    names = {name: name.replace("_orig_mod.", "") for name in tensors}
    prefixes = Counter(name[: -len(rest)] for name in names.values() for rest in _endings(name) if rest in wanted)
    prefix = max(prefixes, key=lambda one: (prefixes[one], -len(one)), default="")
    inside = {short.removeprefix(prefix): tensors[name] for name, short in names.items() if short.startswith(prefix)}
    return Found(inside, place, prefix, tuple(name for name, short in names.items() if not short.startswith(prefix)))


def _endings(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


def few(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
