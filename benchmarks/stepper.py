"""A training's own step, taken again and again: what benchmarks of speed measure."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

from ferops.config import Train
from ferops.training import model, precision
from ferops.training.distributed import World
from ferops.training.faces import Faces, channel_statistics, is_grey
from ferops.training.losses import make_criterion
from ferops.training.model import ExpressionNet
from ferops.training.state import TrainState
from ferops.training.step import StepRunner, plan_steps

ENDLESS = 10_000  # epochs: no benchmark reaches the end of the schedule


class Stepper:
    """Takes the steps of a training, one after the other, on its faces or (`synthetic`) on one ready batch of them.

    `without` one of FEATURES: FP32 for bf16, NCHW for channels-last, plain autocast for the depthwise gradients, the
    loop over the weights for the fused optimiser, no compilation.
    """

    def __init__(
        self,
        architecture: str,
        faces: Faces,
        train: Train,
        *,
        synthetic: bool,
        compiled: bool = False,
        without: str = "",
    ) -> None:
        train = train.model_copy(update={"compile": compiled, **({"amp": "off"} if without == "bf16" else {})})
        chosen, world = precision.choose(train), World()
        if without == "depthwise":
            chosen = _PlainAutocast(chosen.device, chosen.amp)
        net, classes = network(architecture, faces), num_classes(faces)
        self.plan = plan_steps(net.to(chosen.device), train, faces=len(faces), precision=chosen, world=world)
        self.state = TrainState(net, train, total_steps=ENDLESS * self.plan.per_epoch, precision=chosen)
        self.precision = chosen
        self.stepper = StepRunner(
            self.state,
            self.plan,
            train=train,
            seed=0,
            faces=faces,
            targets=np.eye(classes, dtype=np.float32)[faces.labels],
            weights=None,
            criterion=make_criterion(train, faces.labels, num_classes=classes, device=chosen.device),
            precision=chosen,
            world=world,
        )
        self.stepper.set_trainable(head_only=False)
        if synthetic:
            self._ready_batch(nchw=without == "channels_last")
        if without == "fused":
            for group in self.state.optimizer.param_groups:
                group["fused"] = False
        self.order = np.random.default_rng(0).permutation(len(faces))
        self.global_step = 0

    def _ready_batch(self, *, nchw: bool) -> None:
        stepper, net = self.stepper, self.state.net
        pixels, targets = stepper.batch(np.arange(self.plan.images), np.random.default_rng(0))
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        stepper.batch = lambda *_, **__: (pixels, targets)
        if nchw:
            net.to(memory_format=torch.contiguous_format)
            plain = pixels.contiguous()
            stepper.classify = lambda _: net.classify(plain)

    def uses(self, feature: str) -> bool:
        reduced = self.precision.amp is not None
        return {
            "bf16": reduced,
            "depthwise": reduced and self.precision.device.type == "cpu" and _has_depthwise(self.state.net),
            "fused": bool(self.state.optimizer.param_groups[0].get("fused")),
        }.get(feature, True)

    def turn(self, steps: int) -> float:
        """Take some steps and return seconds per image."""
        size = self.plan.images
        _wait_for(self.precision.device)
        started = time.perf_counter()
        for _ in range(steps):
            epoch, step = divmod(self.global_step, self.plan.per_epoch)
            self.stepper.run(self.order[step * size : (step + 1) * size], epoch=epoch, step=step)
            self.global_step += 1
        _wait_for(self.precision.device)
        return (time.perf_counter() - started) / (steps * size)


def num_classes(faces: Faces) -> int:
    return int(faces.labels.max()) + 1


def network(architecture: str, faces: Faces) -> ExpressionNet:
    mean, std = channel_statistics(faces)
    return model.build(
        architecture,
        num_classes=num_classes(faces),
        size_px=faces.size_px,
        mean=mean,
        std=std,
        grayscale=is_grey(faces),
    )


class _PlainAutocast(precision.Precision):
    def training(self) -> AbstractContextManager[None]:
        return self.autocast()


def _has_depthwise(net: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels for module in net.modules())


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
