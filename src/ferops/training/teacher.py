"""Distillation: a trained network teaches another one what it answers to the very faces that the other is shown."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ferops.config import LABELS, Params
from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.training import model
from ferops.training.losses import distillation_loss
from ferops.training.model import ExpressionNet
from ferops.training.precision import Precision


@dataclass(frozen=True)
class Teacher:
    """Teaches by its probabilities for the augmented, blended pixels of each step (Beyer et al. 2022, "Knowledge
    distillation: a good teacher is patient and consistent"), never by answers that were stored for other views.

    Attributes:
        net: in evaluation mode, on the device of the training.
        share: 0-1, how much its probabilities count; the targets count the rest.
        temperature: divides the logits of both networks.
        calibration: divides its logits beforehand: the temperature in its config.json.
    """

    net: ExpressionNet
    share: float
    temperature: float = 1.0
    calibration: float = 1.0

    def probabilities(self, pixels: Tensor, *, precision: Precision) -> Tensor:
        """Map float32 `(N, 3, S, S)` in 0-1, on its device, to probabilities float32 `(N, K)`.

        Pixels of another side than its own are resampled (bilinear, with a low-pass where they shrink).
        """
        with torch.no_grad(), precision.autocast():
            if pixels.shape[-1] != self.net.size_px:
                size = (self.net.size_px, self.net.size_px)
                pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
            logits = self.net.answer(pixels.contiguous(memory_format=torch.channels_last))
            return (logits.float() / (self.calibration * self.temperature)).softmax(dim=1)

    def blend(self, loss: Tensor, logits: Tensor, pixels: Tensor, *, precision: Precision) -> Tensor:
        """Return `loss`, of the targets, and the loss of the teacher's probabilities, each by its share.

        Args:
            logits: of the network that learns, `(N, K)`, for `pixels`.
            pixels: as for `probabilities`.
        """
        taught = self.probabilities(pixels, precision=precision)
        return torch.lerp(loss, distillation_loss(logits, taught, temperature=self.temperature), self.share)


@dataclass(frozen=True)
class Lesson:
    """A teacher on the CPU, its config, what the config of its pupil says of it, and the SHA-256 of all that determines
    what it teaches."""

    teacher: Teacher
    config: ModelConfig
    origin: dict[str, str]
    digest: str


def read_lesson(layout: Layout, params: Params, name: str) -> Lesson | None:
    """Read the teacher of the entry `name` of the block `models`: what `ferops train` or `ferops ensemble` wrote.

    Raises:
        FeropsError: the files are missing or damaged, or it answers other classes, or in another order.
    """
    source, classes = params.models[name].teacher, params.data.classes
    if source is None:
        return None
    folder = layout.root / source
    if folder == layout.model(name):
        raise FeropsError(f"models.{name}.learns_from is its own folder, {source}: a model cannot teach itself")
    if not folder.is_dir():
        raise FeropsError(
            f"models.{name}.learns_from is {source}, which does not exist. It takes {LABELS} (the labels), or the "
            "folder of a teacher with weights.safetensors and config.json: artifacts/train/NAME of another model "
            "(ferops train NAME) or of an ensemble (ferops ensemble NAME MEMBER MEMBER)"
        )
    net, config = model.load(folder)
    if config.classes != classes:
        raise FeropsError(
            f"the teacher in {folder} answers {', '.join(config.classes)}, and the model is to answer "
            f"{', '.join(classes)}. Choose a teacher with the same classes in the same order, or change data.classes"
        )
    teacher = Teacher(
        net.requires_grad_(requires_grad=False),
        share=params.train.teacher_share,
        temperature=params.train.teacher_temperature,
        calibration=config.temperature,
    )
    weights = sha256(folder / "weights.safetensors")
    settings = config.model_dump_json(exclude={"provenance", "licence", "pretrained", "teacher"})
    digest = hashlib.sha256(f"{weights} {settings}".encode()).hexdigest()
    return Lesson(teacher, config, {"source": source, "sha256": weights, "licence": config.licence}, digest)
