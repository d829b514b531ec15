"""The networks that a session leaves: one file each, at most 16 MB, which adopt.py turns into a model of a project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from fitting import Trained
from packed import Pack
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ferops.files import sha256
from ferops.model_config import ModelConfig
from ferops.records import Provenance
from ferops.training import model
from ferops.training.model import ExpressionNet

LIMIT = 16_000_000
"""Bytes of a file: the matrices of larger networks are written in half precision."""


def save(
    path: Path,
    trained: Trained,
    pack: Pack,
    *,
    architecture: str,
    temperature: float,
    teachers: Mapping[Path, ModelConfig],
) -> ModelConfig:
    """Write the weights, with the model's config in the header; `teachers` are files of this kind."""
    start = trained.start
    own = f"the terms of the training data: {', '.join(pack.about['provenance']['sources'])}"
    config = ModelConfig(
        architecture=architecture,
        classes=pack.classes,
        size_px=trained.net.size_px,
        mean=trained.mean,
        std=trained.std,
        grayscale=trained.net.grayscale,
        pretrained=start and {"source": start.source, "sha256": start.sha256, "licence": start.licence},
        teacher=_origin(teachers) if teachers else None,
        temperature=temperature,
        parameters=model.count_parameters(trained.net),
        provenance=Provenance.model_validate(pack.about["provenance"]),
        licence=f"{own}; pretrained weights: {start.licence}" if start else own,
    )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.net.state_dict().items()}
    if sum(tensor.nbytes for tensor in tensors.values()) > LIMIT:
        tensors = model.in_half_precision(tensors)
    save_file(tensors, path, metadata={"config": json.dumps(config.as_json())})
    return config


def _origin(teachers: Mapping[Path, ModelConfig]) -> dict[str, str]:
    """Return what the config of a student says of its teachers."""
    hashes = "".join(sha256(path) for path in teachers)
    return {
        "source": f"benchmarks/gpu: the mean of {', '.join(path.stem for path in teachers)}",
        "sha256": hashlib.sha256(hashes.encode()).hexdigest(),
        "licence": " and ".join(dict.fromkeys(config.licence for config in teachers.values())),
    }


def load(path: Path) -> tuple[ExpressionNet, ModelConfig]:
    """Read what `save` wrote: the network in FP32, on the CPU, in evaluation mode."""
    with safe_open(path, framework="pt") as file:
        config = ModelConfig.model_validate_json(file.metadata()["config"])
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    net = model.from_config(config)
    net.load_state_dict(
        {name: each.to(torch.float32) if each.is_floating_point() else each for name, each in tensors.items()}
    )
    return net.eval(), config
