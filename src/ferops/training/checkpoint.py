"""A run's checkpoint: one safetensors file whose header holds the rest as JSON. Nothing is unpickled.

It lives under .ferops/, not among the stage's outputs, because DVC deletes those before it starts a stage.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ferops.config import Params
from ferops.files import atomic_file

FORMAT = 1
"""Raised when the content changes: older checkpoints are then another run's."""


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of the run with this `fingerprint`, in `folder`."""

    folder: Path
    fingerprint: str

    @property
    def path(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def save(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Replace the checkpoint, whole or not at all. `state` is JSON without NaN; floats come back bit for bit."""
        header = json.dumps({"fingerprint": self.fingerprint, **state}, allow_nan=False)
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_file(self.path) as temporary:
            save_file(plain, temporary, metadata={"state": header})

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what `save` was given, or None without a checkpoint of this run; says so if it is another run's."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                state: dict[str, Any] = json.loads((file.metadata() or {})["state"])
                if state.pop("fingerprint") == self.fingerprint:
                    return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118, not a dict
        except (SafetensorError, KeyError, ValueError) as error:
            _say(f"{self.path} is damaged ({error}): starting from the first epoch")
            return None
        _say(f"{self.path} belongs to a run with other data, settings or seed: starting from the first epoch")
        return None

    def remove(self) -> None:
        """Delete the checkpoint and what killed writes left beside it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def fingerprint(params: Params, name: str, data_hash: str) -> str:
    """Return what makes two runs the same one: settings of training and model, seed, and the hash of the faces."""
    identity = {
        "format": FORMAT,
        "train": params.train.model_dump(mode="json", exclude={"checkpoint_every", "watch_every"}),
        "model": params.models[name].model_dump(mode="json"),
        "seed": params.seed,
        "data": data_hash,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
