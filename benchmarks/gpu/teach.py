"""Three teachers, and the student that learns from all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import judge
import torch
import weights
from fitting import Recipe, Trainer, plain_logits
from packed import Pack
from parts import Job
from torch import Tensor, nn
from torch.nn import functional as F

from ferops.model_config import ModelConfig
from ferops.training.ensemble import Ensemble
from ferops.training.model import ExpressionNet
from ferops.training.teacher import Teacher

PRESET = "fer2013-cpu"
"""Whose block `train` all learn by, but for what a long schedule and a GPU want otherwise."""

LONG = {
    "batch_size": 256,
    "ema_decay": 0.9995,
    "checkpoint_every": 1000,  # SIGTERM leaves one all the same
    "mixup_alpha": 0.2,
    "cutmix_alpha": 1.0,
    "votes": 0.75,
    "class_weights": "none",  # classes are drawn by their shares instead
    "low_resolution_probability": 0.3,
    "blur_probability": 0.1,
    "brightness": 0.3,
    "contrast": 0.3,
    "zoom_out": 0.1,
}
PHOTOGRAPHS = {"weight": 1.5, "balance": 0.5}
TEACHERS = {
    "mobilenet": Recipe("mobilenetv1", "faces", 128, PRESET, 1, {"layer_decay": 0.9}, 0.2, 0.1),
    "resnet": Recipe("resnet18_small", None, 48, PRESET, 2, {"max_lr": 0.002, "layer_decay": 1.0}, 0.2, 0.1),
    "efficientnet": Recipe("efficientnet_lite0", "imagenet", 128, PRESET, 3, {"layer_decay": 0.9}, 0.2, 0.1),
}
STUDENT = Recipe("mobilenetv1", "faces", 128, PRESET, 4, {"layer_decay": 0.9, "teacher_share": 0.8}, 0.1, 0.0)


class Resized(nn.Module):
    """A member of an ensemble that gets the faces at its own size."""

    def __init__(self, net: ExpressionNet) -> None:
        super().__init__()
        self.net = net

    def answer(self, pixels: Tensor) -> Tensor:
        side = (self.net.size_px, self.net.size_px)
        own = F.interpolate(pixels, side, mode="bilinear", align_corners=False, antialias=True)
        return self.net.answer(own.contiguous(memory_format=torch.channels_last))


def ensemble(found: dict[str, tuple[ExpressionNet, ModelConfig]]) -> ExpressionNet:
    """Return the mean of the networks' calibrated probabilities as one network for faces of the student's size."""
    nets = [net if net.size_px == STUDENT.size_px else Resized(net) for net, _ in found.values()]
    members = Ensemble(nets, [config.temperature for _, config in found.values()])
    net = ExpressionNet(members, size_px=STUDENT.size_px, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return net.requires_grad_(requires_grad=False).eval()


def long_recipe(recipe: Recipe, pack: Pack) -> Recipe:
    """Return the recipe with LONG below its own changes, and photographs drawn more often than their share."""
    sampling = {pack.about["photographs"]: PHOTOGRAPHS, "fer2013": {"weight": 1.0, "balance": 0.35}}
    return replace(recipe, changes={**LONG, "sampling": sampling, **recipe.changes})


def train_one(
    name: str,
    recipe: Recipe,
    job: Job,
    *,
    teacher: Teacher | None = None,
    teachers: Mapping[Path, ModelConfig] = MappingProxyType({}),
) -> dict[str, Any]:
    """Train, judge and write one network. Its weights are written before it is judged."""
    pack, out, splits = job.pack, job.out, job.pack.splits
    if job.tiny:
        recipe = replace(recipe, changes={**recipe.changes, "batch_size": 8})
    trainer = Trainer(
        long_recipe(recipe, pack),
        splits["train"],
        splits["val"],
        classes=pack.classes,
        teacher=teacher,
    )
    device = trainer.precision.device
    trained = trainer.train(until=job.until, together=job.together, epochs=1 if job.tiny else None)
    logits = plain_logits(trained.net, trainer.validation, device)
    scale = judge.temperature(logits, splits["val"].labels)
    config = weights.save(
        _file(out, name),
        trained,
        pack,
        architecture=recipe.architecture,
        temperature=scale,
        teachers=teachers,
    )
    found = {"val": judge.judge(pack, "val", logits)}
    test = plain_logits(trained.net, splits["test"].faces(recipe.size_px), device)
    found["test"] = judge.judge(pack, "test", test)
    return {**trained.figures, "temperature": scale, "parameters": config.parameters, "judged": found}


def teacher(name: str, job: Job) -> dict[str, Any]:
    return train_one(name, TEACHERS[name], job)


def student(job: Job) -> dict[str, Any]:
    """Train the student on the answers of those teachers whose weights are there."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = {name: weights.load(file) for name in TEACHERS if (file := _file(job.out, name)).exists()}
    if not found:
        raise RuntimeError("there is no teacher")
    settings, net = STUDENT.train, ensemble(found).to(device)
    taught = Teacher(net, share=settings.teacher_share, temperature=settings.teacher_temperature)
    teachers = {_file(job.out, name): config for name, (_, config) in found.items()}
    figures = train_one("student", STUDENT, job, teacher=taught, teachers=teachers)
    judged = {
        name: judge.judge(job.pack, name, plain_logits(net, job.pack.splits[name].faces(net.size_px), device))
        for name in ("val", "test")
    }
    return {**figures, "teachers": list(found), "ensemble": judged}


def _file(out: Path, name: str) -> Path:
    return out / f"{name}.safetensors"
