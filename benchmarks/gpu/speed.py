"""Images a second of ResNet-50 at 224 px, the share of ready tensors, AMP against FP32, and torch.compile."""

from __future__ import annotations

import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fitting import ON_GPU, params_of
from measure import images_per_s, interleave, times_as_fast
from packed import Pack
from parts import Job
from stepper import Stepper

from ferops.config import Train
from ferops.training.faces import Faces

PRESET = "fer2013-gpu"
BATCH = 256
FACES = 1024


def settings(*, batch: int) -> Train:
    block = params_of(PRESET).train.model_copy(update=ON_GPU)
    return block.model_copy(update={"batch_size": batch, "votes": 0.0, "sampling": {}, "compile": False})


def enlarged(pack: Pack, size_px: int, most: int) -> Faces:
    """Return some training faces with all classes among them, enlarged."""
    split = pack.splits["train"]
    rows = np.random.default_rng(0).permutation(len(split))[:most]
    first = [int(np.flatnonzero(split.labels == label)[0]) for label in np.unique(split.labels)]
    return split[np.unique([*rows, *first])].faces(size_px)


def speed(job: Job) -> dict[str, Any]:
    """Measure the training's step on faces against the same on ready tensors, and in bf16 against FP32."""
    batch, steps, rounds = (4, 1, 1) if job.tiny else (BATCH, 12, 5)
    architecture, size = ("test_resnet", 64) if job.tiny else ("resnet50", 224)
    faces, train = enlarged(job.pack, size, 8 if job.tiny else FACES), settings(batch=batch)
    real = Stepper(architecture, faces, train, synthetic=False)
    ready = Stepper(architecture, faces, train, synthetic=True)
    turns = interleave({"faces": lambda: real.turn(steps), "ready": lambda: ready.turn(steps)}, rounds=rounds)
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "architecture": architecture,
        "size_px": size,
        "batch": batch,
        "precision": real.precision.name,
        "images_per_s": {name: images_per_s(each) for name, each in turns.items()},
        "share_of_ready": times_as_fast(turns["faces"], turns["ready"]),
        "waits_in_a_step": waits(real),
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None,
    }
    plain = Stepper(architecture, faces, train, synthetic=True, without="bf16")
    turns = interleave({"ready": lambda: ready.turn(steps), "plain": lambda: plain.turn(steps)}, rounds=min(rounds, 3))
    return {**found, "fp32_images_per_s": images_per_s(turns["plain"]), "amp_over_fp32": times_as_fast(*turns.values())}


def waits(stepper: Stepper) -> list[str]:
    """Return where a step makes the CPU wait for the GPU, as PyTorch sees it: each such place costs speed."""
    if not torch.cuda.is_available():
        return []
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stepper.turn(1)
    torch.cuda.set_sync_debug_mode("default")
    return sorted({f"{Path(each.filename).name}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)})


def compiled(job: Job) -> dict[str, Any]:
    """Compare steps with and without torch.compile: how fast, after how long, and whether the losses agree."""
    batch, steps, rounds = (4, 1, 1) if job.tiny else (BATCH, 12, 3)
    if job.tiny:
        torch.compiler.set_stance("force_eager")  # a rehearsal goes through all but the compiler
    found: dict[str, Any] = {}
    networks = {"test_resnet": 64} if job.tiny else {"resnet50": 224, "mobilenetv1": 96}
    for architecture, size in networks.items():
        faces, train = enlarged(job.pack, size, 8 if job.tiny else FACES), settings(batch=batch)
        eager = Stepper(architecture, faces, train, synthetic=True)
        first = [float(eager.stepper.run(eager.order[:batch], epoch=0, step=step)) for step in range(3)]
        started = time.perf_counter()
        fast = Stepper(architecture, faces, train, synthetic=True, compiled=True)
        again = [float(fast.stepper.run(fast.order[:batch], epoch=0, step=step)) for step in range(3)]
        first_steps_s = time.perf_counter() - started
        contenders = {"compiled": partial(fast.turn, steps), "eager": partial(eager.turn, steps)}
        turns = interleave(contenders, rounds=rounds)
        found[architecture] = {
            "size_px": size,
            "first_steps_s": first_steps_s,
            "images_per_s": {name: images_per_s(each) for name, each in turns.items()},
            "over_eager": times_as_fast(turns["compiled"], turns["eager"]),
            "losses": {"eager": first, "compiled": again},
        }
        print(architecture, found[architecture], flush=True)
    return found
