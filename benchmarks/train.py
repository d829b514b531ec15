"""Training speed in images/s: architecture x size, FP32 and bf16, memory format, and what the input pipeline costs.

    python benchmarks/train.py                                # the whole table, some minutes
    python benchmarks/train.py --architectures resnet50 --sizes 48 64 96 --modes bf16

A cell is the median of a few optimiser steps of the real thing (loss, clipping, optimiser), so it is noisy on a busy
machine: processes that share its cores slow it by far more than their share. `pipeline` reads packed faces, augments
and mixes them as the stage does; the other columns train on one fixed batch.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ferops.config import CLASSES, Train, load
from ferops.training import model, precision
from ferops.training.augment import augment, mixup
from ferops.training.fit import make_optimizer
from ferops.training.losses import focal_loss

Batch = Callable[[], tuple[torch.Tensor, torch.Tensor]]

MODES = {  # name -> autocast, channels-last
    "fp32-nchw": ("off", False),
    "fp32": ("off", True),
    "bf16-nchw": ("bf16", False),
    "bf16": ("bf16", True),
}


def main() -> None:
    arguments = _arguments()
    train = load(Path(__file__).parents[1] / "params.yaml").train
    train = train.model_copy(update={"batch_size": arguments.batch_size, "device": arguments.device})
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {train.batch_size}")
    columns = [*arguments.modes, "pipeline"]
    print(f"{'images/s':<16}" + "".join(f"{column:>12}" for column in columns))
    for architecture in arguments.architectures:
        for size_px in arguments.sizes:
            cells = [
                _images_per_s(architecture, size_px, train, mode=mode, steps=arguments.steps)
                for mode in arguments.modes
            ]
            last = arguments.modes[-1]
            cells.append(
                _images_per_s(architecture, size_px, train, mode=last, steps=arguments.steps, with_pipeline=True)
            )
            print(f"{architecture:<9}{size_px:>4} px" + "".join(f"{cell:>12.1f}" for cell in cells), flush=True)


def _images_per_s(
    architecture: str, size_px: int, train: Train, *, mode: str, steps: int, with_pipeline: bool = False
) -> float:
    amp, channels_last = MODES[mode]
    chosen = precision.choose(train.model_copy(update={"amp": amp}))
    net = model.build(architecture, size_px=size_px).to(chosen.device)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=memory)
    optimizer = make_optimizer(net, train)
    with tempfile.TemporaryDirectory() as folder:
        batch = (
            _pipeline(Path(folder), size_px, train, chosen.device) if with_pipeline else _fixed(size_px, train, chosen)
        )
        times = [_step(net, optimizer, batch, train=train, chosen=chosen, memory=memory) for _ in range(steps + 1)]
    return train.batch_size / statistics.median(times[1:])  # the first step prepares kernels


def _step(
    net: model.ExpressionNet,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    *,
    train: Train,
    chosen: precision.Precision,
    memory: torch.memory_format,
) -> float:
    started = time.perf_counter()
    pixels, targets = batch()
    with chosen.autocast():
        logits = net.classify(pixels.contiguous(memory_format=memory))
    focal_loss(logits, targets, gamma=train.focal_gamma).backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), train.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if chosen.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _fixed(size_px: int, train: Train, chosen: precision.Precision) -> Batch:
    pixels = torch.rand(train.batch_size, 3, size_px, size_px, device=chosen.device)
    targets = torch.eye(len(CLASSES), device=chosen.device)[torch.arange(train.batch_size) % len(CLASSES)]
    return lambda: (pixels, targets)


def _pipeline(folder: Path, size_px: int, train: Train, device: torch.device) -> Batch:
    rng = np.random.default_rng(0)
    count = 4 * train.batch_size
    np.save(folder / "faces.npy", rng.integers(0, 256, (count, size_px, size_px, 3), dtype=np.uint8))
    faces = np.load(folder / "faces.npy", mmap_mode="r")
    labels = rng.integers(0, len(CLASSES), count)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        rows = rng.permutation(count)[: train.batch_size]
        pixels = augment(model.ExpressionNet.pixels(torch.from_numpy(faces[rows]).to(device)), train, rng)
        targets = F.one_hot(torch.from_numpy(labels[rows]).to(device), len(CLASSES)).float()
        return mixup(pixels, targets, train.mixup_alpha, rng)

    return batch


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--architectures", nargs="+", default=["resnet18", "resnet50"], choices=["resnet18", "resnet50"]
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[48, 64, 112, 224], metavar="PX")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3, help="measured steps per cell (after one that is not)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
