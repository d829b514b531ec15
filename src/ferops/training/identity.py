"""What makes two trainings the same one: a checkpoint and a run of MLflow are continued by the same training only."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import nn

from ferops.config import Params
from ferops.records import Record

FORMAT = 3
"""Of a checkpoint's content. Raised when it changes: older checkpoints then belong to other trainings."""

_CHANGE_NOTHING = {"checkpoint_every", "watch_every", "every_fold"}


class Identity(Record):
    """All that determines what a training computes, and in which arithmetic.

    Attributes:
        train: the block `train`, but for how often a training saves and shows itself, and for what else is trained.
        model: the entry of `models`.
        faces: SHA-256 of the faces, labels and targets of all splits.
        pretrained: SHA-256 of the weights to start from; None where they are drawn from the seed.
        teacher: SHA-256 of the teacher's weights and settings; None without one.
        micro_batches: in which each process takes its share of an optimiser step.
        device: its kind, `cpu` or `cuda`.
        number_format: of forward and backward passes, `fp32`, `bf16` or `fp16`.
    """

    format: int = FORMAT
    train: dict[str, Any]
    model: dict[str, Any]
    seed: int
    classes: tuple[str, ...]
    faces: str
    pretrained: str | None
    teacher: str | None
    micro_batches: int
    processes: int
    device: str
    number_format: str

    @property
    def digest(self) -> str:
        """SHA-256, hex."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()


def settings_of(params: Params, name: str) -> dict[str, Any]:
    """Return the fields of an Identity that stand in params.yaml."""
    return {
        "train": params.train.model_dump(mode="json", exclude=_CHANGE_NOTHING),
        "model": params.models[name].model_dump(mode="json"),
        "seed": params.seed,
        "classes": params.data.classes,
    }


def weights_hash(module: nn.Module) -> str:
    """Return the SHA-256 of all weights with their names, hex."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
