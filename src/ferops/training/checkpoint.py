"""The checkpoints of unfinished trainings: one safetensors file each, whose header holds the rest as JSON.

They live under .ferops/, not among the stage's outputs, because DVC deletes those before it starts a stage. Each
training has a folder of its own, so that trying other settings costs an unfinished one nothing. Nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ferops.errors import FeropsError
from ferops.files import atomic_file
from ferops.records import Record
from ferops.scratch import remove_leftovers

KEPT_OTHERS = 2
"""Unfinished trainings of a model with other settings or data whose checkpoints stay; the oldest beyond them go."""

NAME = "checkpoint.safetensors"

Header = TypeVar("Header", bound=Record)


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of the training whose `Identity` has this `digest`; `folder` holds all those of a model."""

    folder: Path
    digest: str

    @property
    def path(self) -> Path:
        return self.folder / self.digest[:16] / NAME

    @property
    def hint(self) -> str:
        """A sentence about what there is to resume from."""
        if self.path.exists():
            return f"The last complete checkpoint is kept in {self.path}; the same command goes on from it"
        return "There is no checkpoint yet to go on from"

    def save(self, tensors: dict[str, Tensor], header: Record) -> None:
        """Replace the checkpoint, whole or not at all. Floats of the header come back bit for bit.

        Raises:
            FeropsError: the disk has no room for it beside the last one, which stays.
        """
        state = json.dumps(header.as_json(), allow_nan=False)
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        needed_mb = sum(tensor.nbytes for tensor in plain.values()) / 1e6
        try:
            with atomic_file(self.path) as temporary:
                save_file(plain, temporary, metadata={"state": state})
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
        except FeropsError as error:
            raise FeropsError(
                f"the checkpoint could not be saved; it takes {needed_mb:,.1f} MB, beside the last one: {error}. "
                f"{self.hint}"
            ) from error

    def load(self, kind: type[Header]) -> tuple[dict[str, Tensor], Header] | None:
        """Return what `save` was given, or None without a checkpoint; says so if there are those of other trainings.

        Removes what a kill left half-written, and the oldest checkpoints of other trainings beyond KEPT_OTHERS.
        """
        remove_leftovers(self.path.parent, NAME)
        self._make_room()
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                header = kind.model_validate(json.loads((file.metadata() or {})["state"]))
                return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118, not a dict
        except (SafetensorError, KeyError, ValueError) as error:
            aside = self.path.with_name(f"damaged-{NAME}")
            self.path.replace(aside)
            _say(f"{self.path} is damaged ({error}): it is now {aside.name}, and training starts from the first epoch")
            return None

    def remove(self) -> None:
        """Delete this training's checkpoint and what killed writes left beside it; those of others stay."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        with suppress(OSError):  # not empty
            self.folder.rmdir()

    def _make_room(self) -> None:
        others = [path for path in self.folder.glob("*") if path != self.path.parent]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[KEPT_OTHERS:]:
            _say(f"{path} is older than the checkpoints of {KEPT_OTHERS} other unfinished trainings: it is removed")
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if others and not self.path.exists():
            files = [file for path in others[:KEPT_OTHERS] for file in (path, *path.rglob("*")) if file.is_file()]
            _say(
                "the unfinished trainings of this model had other data, settings or hardware: this one starts from the "
                f"first epoch. Their checkpoints are kept in {self.folder} "
                f"({sum(file.stat().st_size for file in files) / 1e6:,.0f} MB, of the newest {KEPT_OTHERS} at most)"
            )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
