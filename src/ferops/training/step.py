"""One optimiser step: faces are augmented, go through the network in micro-batches, and their gradients are applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ferops.config import Train
from ferops.errors import FeropsError
from ferops.training.augment import augment, blend
from ferops.training.degrade import on
from ferops.training.distributed import World
from ferops.training.faces import Faces
from ferops.training.losses import Criterion
from ferops.training.memory import micro_batches
from ferops.training.model import ExpressionNet
from ferops.training.norms import RunningStatistics
from ferops.training.precision import Precision
from ferops.training.resident import resident
from ferops.training.state import TrainState
from ferops.training.teacher import Teacher
from ferops.training.zoo import first_layers, head_parameters

# The random streams: (seed, stream, epoch, ...). Every draw is a function of its place in the training, so that an
# interrupted one goes on with the same draws, and no generator's state has to be kept.
ORDER, AUGMENTATION, DROPOUT = 0, 1, 3


@dataclass(frozen=True)
class StepPlan:
    """How an optimiser step is divided.

    Attributes:
        images: of a step, over all processes.
        per_epoch: steps of an epoch; the faces that fill no step wait for the next epoch's shuffle.
        micro_batches: in which each process takes its share of a step.
        chained: the micro-batches of all processes are those that one process would take one after the other.
    """

    images: int
    per_epoch: int
    micro_batches: int
    chained: bool


def plan_steps(net: ExpressionNet, train: Train, *, faces: int, precision: Precision, world: World) -> StepPlan:
    """Divide the steps over `faces` training faces; `net` is on its device.

    Raises:
        FeropsError: the faces do not fill one step, the processes cannot share one evenly, or `train.memory_gb` is too
            little.
    """
    alone = micro_batches(net, train, precision)
    images = train.batch_size * (1 if train.accumulate == "auto" else alone)
    each = world.micro_batches(images=images, alone=alone)
    if faces < images:
        raise FeropsError(
            f"the train split has {faces} faces, and one optimiser step needs train.batch_size * train.accumulate = "
            f"{images}. Lower one of them in params.yaml, or add images"
        )
    return StepPlan(images, faces // images, each, chained=each * world.size == alone)


class StepRunner:
    """Takes optimiser steps with `state`, in one of the processes of `world`.

    Args:
        targets: of the faces, float32 `(N, K)`.
        offsets: float32 `(N, K)`, added to the logits of the faces before the loss; None for none.
        weights: `(N,)`, how often each face is drawn, up to scale; None for once in an epoch.
        teacher: answers what the network shall learn of the faces that it is shown; None for the targets alone.
    """

    def __init__(
        self,
        state: TrainState,
        plan: StepPlan,
        *,
        train: Train,
        seed: int,
        faces: Faces,
        targets: NDArray[np.float32],
        weights: NDArray[np.float64] | None,
        criterion: Criterion,
        precision: Precision,
        world: World,
        offsets: NDArray[np.float32] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.state, self.plan, self.train, self.seed = state, plan, train, seed
        self.faces, self.weights, self.criterion = faces, weights, criterion
        self.classes = targets.shape[1]
        # Side by side, since Mixup blends both in the same shares
        self.lessons = targets if offsets is None else np.concatenate([targets, offsets], axis=1)
        self.precision, self.world, self.teacher = precision, world, teacher
        net = state.net
        self.classify: Callable[[Tensor], Tensor] = torch.compile(net.classify) if train.compile else net.classify
        self.statistics = RunningStatistics(net, world, micro_batches=plan.micro_batches, chained=plan.chained)
        self.frozen = first_layers(net.backbone, train.freeze_layers) if train.freeze_layers else []
        self.head_only: bool | None = None
        self.resident = resident(faces.images, precision.device)
        if precision.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # all batches have one shape: a search pays

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return rows of faces in the order of the epoch, which is counted from 0: as many as there are faces."""
        rng = np.random.default_rng((self.seed, ORDER, epoch))
        rows = rng.permutation(len(self.faces))
        return rows if self.weights is None else rng.permutation(draw(rows, self.weights[rows], rng))

    def set_trainable(self, *, head_only: bool) -> None:
        """Train the whole network but its frozen layers, or its head alone. What is not trained stands still, the
        norms' statistics too."""
        net = self.state.net
        head = {f"backbone.{name}" for name in head_parameters(net.backbone)}
        net.train(not head_only)
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(not head_only or name in head)
        for module in self.frozen:
            module.eval().requires_grad_(False)
        if self.world.size > 1 and head_only != self.head_only:  # DDP notes once which parameters have gradients
            self.classify = self.world.parallel(net, compiled=self.train.compile)
        self.head_only = head_only

    def run(self, rows: NDArray[np.int64], *, epoch: int, step: int) -> Tensor:
        """Take the step over these rows, numbered from 0 in its epoch; return this process's mean loss, float64."""
        place = (epoch, step, *self.world.rng_key)
        rng = np.random.default_rng((self.seed, AUGMENTATION, *place))
        torch.manual_seed(int(np.random.SeedSequence((self.seed, DROPOUT, *place)).generate_state(1)[0]))
        total = torch.zeros((), dtype=torch.float64, device=self.precision.device)
        count = self.plan.micro_batches
        self.statistics.snapshot()
        for number, chosen in enumerate(np.split(self.world.shard(rows), count), start=1):
            pixels, lessons = self.batch(chosen, rng, side=self.side(epoch))
            targets, offsets = lessons[:, : self.classes], lessons[:, self.classes :]
            with self.world.gradient_sync(self.classify, last=number == count):
                with self.precision.training():
                    logits = self.classify(pixels.contiguous(memory_format=torch.channels_last))
                loss = self.criterion(logits + offsets if offsets.shape[1] else logits, targets)
                if self.teacher:
                    loss = self.teacher.blend(loss, logits, pixels, precision=self.precision)
                loss = loss / count
                self.state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.statistics.merge()
        global_step = epoch * self.plan.per_epoch + step + 1
        self.state.apply_gradients(global_step=global_step, clip_norm=self.train.clip_norm)
        return total

    def side(self, epoch: int) -> int:
        """Return the side in pixels of the faces of an epoch, counted from 0: small ones first, which cost less (Tan &
        Le 2021, "EfficientNetV2", section 4: progressive learning)."""
        small = epoch * self.plan.per_epoch < self.train.small_share * self.state.total_steps
        return self.train.small_px if self.train.small_px and small else self.state.net.size_px

    def batch(
        self, rows: NDArray[np.int64], rng: np.random.Generator, *, side: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return augmented faces, float32 `(N, 3, side, side)` in 0-1, and targets `(N, K)`, or targets and offsets
        `(N, 2 K)`, on the device; `side` is the network's unless given.

        Where colour plays no role, one channel is worked on, a third of the numbers, and then repeated three times.
        """
        device, net = self.precision.device, self.state.net
        grey = net.grayscale and not self.train.grey_probability  # else the network takes colour out of the faces
        if self.resident is None:
            images = torch.from_numpy(self.faces.images[rows][..., : 1 if grey else 3]).to(device, non_blocking=True)
        else:
            images = self.resident[on(rows, self.resident)][..., : 1 if grey else 3]
        lessons = torch.from_numpy(self.lessons[rows]).to(device, non_blocking=True)
        pixels = net.pixels(images)
        if net.grayscale and not grey:
            pixels = net.luminance(pixels)
        if side not in (None, net.size_px):
            pixels = F.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)
        pixels, lessons = blend(augment(pixels, self.train, rng), lessons, self.train, rng)
        return pixels.expand(-1, 3, -1, -1), lessons


def draw(rows: NDArray[np.int64], weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw as many of `rows` as there are, by their weights: each is in there its expected number of times, rounded up
    or down ("systematic sampling"; with equal weights, once)."""
    ends = np.cumsum(weights) * (len(rows) / weights.sum())
    places = np.searchsorted(ends, rng.random() + np.arange(len(rows)), side="right")
    return rows[np.minimum(places, len(rows) - 1)]
