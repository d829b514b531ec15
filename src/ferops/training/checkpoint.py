"""The checkpoints of unfinished runs: one safetensors file each, whose header holds the rest as JSON. No unpickling.

They live under .ferops/, not among the stage's outputs, because DVC deletes those before it starts a stage. Each run
has a folder of its own, so that trying other settings costs an unfinished run nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import atomic_file

FORMAT = 2
"""Raised when the content changes: older checkpoints are then another run's."""

KEPT_OTHERS = 2
"""Unfinished runs of a model with other settings or data whose checkpoints stay; the oldest beyond them go."""

NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of the run with this `fingerprint`; `folder` holds those of all unfinished runs of a model."""

    folder: Path
    fingerprint: str

    @property
    def path(self) -> Path:
        return self.folder / self.fingerprint[:16] / NAME

    def of(self, **facts: Any) -> Checkpoint:
        """Return the checkpoint of the run that these facts, JSON values, set apart from others like it."""
        identity = json.dumps([self.fingerprint, facts], sort_keys=True)
        return replace(self, fingerprint=hashlib.sha256(identity.encode()).hexdigest())

    @property
    def kept(self) -> str:
        """A sentence about what there is to go on from."""
        if self.path.exists():
            return f"The last whole checkpoint is kept in {self.path}; the same command goes on from it"
        return "There is no checkpoint yet to go on from"

    def save(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Replace the checkpoint, whole or not at all. `state` is JSON without NaN; floats come back bit for bit.

        Raises:
            FeropsError: the disk has no room for it beside the last one, which stays.
        """
        header = json.dumps({"fingerprint": self.fingerprint, **state}, allow_nan=False)
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        needed_mb = sum(tensor.nbytes for tensor in plain.values()) / 1e6
        try:
            with atomic_file(self.path) as temporary:
                save_file(plain, temporary, metadata={"state": header})
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
        except FeropsError as error:
            raise FeropsError(
                f"the checkpoint could not be saved; it takes {needed_mb:,.1f} MB, beside the last one: {error}. "
                f"{self.kept}"
            ) from error

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return what `save` was given, or None without a checkpoint of this run; says so if there are others'.

        Clears up: what a kill left half-written, and the oldest checkpoints of other runs beyond KEPT_OTHERS.
        """
        for half in self.path.parent.glob(f".{NAME}.*.tmp"):
            half.unlink()
        self._make_room()
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                state: dict[str, Any] = json.loads((file.metadata() or {})["state"])
                state.pop("fingerprint")  # for people who look inside
                return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118, not a dict
        except (SafetensorError, KeyError, ValueError) as error:
            aside = self.path.with_name(f"damaged-{NAME}")
            self.path.replace(aside)
            _say(f"{self.path} is damaged ({error}): it is now {aside.name}, and this run starts from the first epoch")
            return None

    def remove(self) -> None:
        """Delete this run's checkpoint and what killed writes left beside it; other runs' stay."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        with suppress(OSError):  # other runs' are in there
            self.folder.rmdir()

    def _make_room(self) -> None:
        """Keep the newest checkpoints of other runs, and say that they are there."""
        others = [path for path in self.folder.glob("*") if path != self.path.parent]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[KEPT_OTHERS:]:
            _say(f"{path} is older than the checkpoints of {KEPT_OTHERS} other unfinished runs: it is removed")
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if others and not self.path.exists():
            files = [file for path in others[:KEPT_OTHERS] for file in (path, *path.rglob("*")) if file.is_file()]
            _say(
                "the unfinished runs of this model had other data, settings or seed: this one starts from the first "
                f"epoch. Their checkpoints are kept in {self.folder} "
                f"({sum(file.stat().st_size for file in files) / 1e6:,.0f} MB, of the newest {KEPT_OTHERS} at most)"
            )


def fingerprint(params: Params, name: str, data_hash: str, *, pretrained_hash: str | None = None) -> str:
    """Return what makes two runs the same one: settings of training and model, seed, and the hashes of the faces and of
    the weights to start from."""
    identity = {
        "format": FORMAT,
        "train": params.train.model_dump(mode="json", exclude={"checkpoint_every", "watch_every"}),
        "model": params.models[name].model_dump(mode="json"),
        "seed": params.seed,
        "data": data_hash,
        "pretrained": pretrained_hash,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def weights_hash(module: nn.Module) -> str:
    """Return the SHA-256 of all weights, hex."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
