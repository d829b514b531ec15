"""Three teachers, and the student that learns from all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import judge
import torch
import weights
from fitting import Recipe, Trainer, plain_logits
from packed import Pack
from parts import Job
from torch import Tensor, nn
from torch.nn import functional as F

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
    "mobilenet": Recipe("mobilenetv1", "faces", 96, PRESET, 1, {"layer_decay": 0.9}, 0.2, 0.1),
    "resnet": Recipe("resnet18_small", None, 48, PRESET, 2, {"max_lr": 0.002}, 0.2, 0.1),
    "efficientnet": Recipe("efficientnet_lite0", "imagenet", 96, PRESET, 3, {"layer_decay": 0.9}, 0.2, 0.1),
}
STUDENT = Recipe("mobilenetv1", "faces", 96, PRESET, 4, {"layer_decay": 0.9, "teacher_share": 0.8}, 0.1, 0.0)


class Committee(nn.Module):
    """Teaches the mean of its members' calibrated probabilities; each gets the faces at its own size."""

    def __init__(self, members: list[ExpressionNet], temperatures: list[float], *, size_px: int) -> None:
        super().__init__()
        self.members, self.temperatures, self.size_px = nn.ModuleList(members), temperatures, size_px

    def answer(self, pixels: Tensor) -> Tensor:
        """Map float32 `(N, 3, S, S)` in 0-1 to the logarithms of mean probabilities `(N, K)`."""
        answers = []
        for member, temperature in zip(self.members, self.temperatures, strict=True):
            own = pixels
            if pixels.shape[-1] != member.size_px:
                side = (member.size_px, member.size_px)
                own = F.interpolate(pixels, side, mode="bilinear", align_corners=False, antialias=True)
            logits = member.answer(own.contiguous(memory_format=torch.channels_last))
            answers.append((logits.float() / temperature).softmax(dim=1))
        return torch.stack(answers).mean(dim=0).log()


def long_recipe(recipe: Recipe, pack: Pack) -> Recipe:
    """Return the recipe with LONG below its own changes, and photographs drawn more often than their share."""
    sampling = {pack.about["photographs"]: PHOTOGRAPHS, "fer2013": {"weight": 1.0, "balance": 0.35}}
    return replace(recipe, changes={**LONG, "sampling": sampling, **recipe.changes})


def train_one(name: str, recipe: Recipe, job: Job, *, teacher: Teacher | None = None) -> dict[str, Any]:
    """Train, judge and write one network. Its weights are written before it is judged."""
    pack, out, splits = job.pack, job.out, job.pack.splits
    if job.tiny:
        recipe = replace(recipe, changes={**recipe.changes, "batch_size": 8})
    trainer = Trainer(
        long_recipe(recipe, pack),
        splits["train"],
        splits["val"],
        classes=len(pack.classes),
        teacher=teacher,
    )
    device = trainer.precision.device
    trained = trainer.train(until=job.until, together=job.together, epochs=1 if job.tiny else None)
    logits = plain_logits(trained.net, trainer.validation, device)
    scale = judge.temperature(logits, splits["val"].labels)
    config = weights.save(
        out / f"{name}.safetensors", trained, pack, architecture=recipe.architecture, temperature=scale
    )
    found = {"val": judge.judge(pack, "val", logits)}
    test = plain_logits(trained.net, splits["test"].faces(recipe.size_px), device)
    found["test"] = judge.judge(pack, "test", test)
    return {**trained.figures, "temperature": scale, "parameters": config.parameters, "judged": found}


def teacher(name: str, job: Job) -> dict[str, Any]:
    return train_one(name, TEACHERS[name], job)


def student(job: Job) -> dict[str, Any]:
    """Train the student on the answers of those teachers whose weights are there."""
    out = job.out
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = {name: weights.load(out / f"{name}.safetensors") for name in TEACHERS if _is_there(out, name)}
    if not found:
        raise RuntimeError("there is no teacher")
    settings = STUDENT.train
    committee = Committee(
        [net.requires_grad_(requires_grad=False).to(device) for net, _ in found.values()],
        [config.temperature for _, config in found.values()],
        size_px=STUDENT.size_px,
    ).eval()
    taught = Teacher(committee, share=settings.teacher_share, temperature=settings.teacher_temperature)
    figures = train_one("student", STUDENT, job, teacher=taught)
    return {**figures, "teachers": list(found), "committee": _judged(committee, job.pack, device)}


def _judged(committee: Committee, pack: Pack, device: torch.device) -> dict[str, Any]:
    """Judge the teachers' mean, which is what the student could reach."""
    found = {}
    for name in ("val", "test"):
        images = pack.splits[name].faces(committee.size_px).images
        batches = []
        with torch.inference_mode():
            for start in range(0, len(images), 512):
                batch = torch.from_numpy(images[start : start + 512].copy()).to(device)
                batches.append(committee.answer(ExpressionNet.pixels(batch)).cpu())
        found[name] = judge.judge(pack, name, torch.cat(batches).numpy())
    return found


def _is_there(out: Path, name: str) -> bool:
    return (out / f"{name}.safetensors").exists()
