"""Which device trains, and in which number format."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from ferops.config import Train
from ferops.errors import FeropsError
from ferops.training.depthwise import FastDepthwise


@dataclass(frozen=True)
class Precision:
    """`amp` is the type of the autocast regions, None for plain FP32."""

    device: torch.device
    amp: torch.dtype | None

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.amp or torch.bfloat16, enabled=self.amp is not None)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Autocast for a forward pass whose gradients are wanted."""
        fast = FastDepthwise() if self.device.type == "cpu" and self.amp else nullcontext()
        with self.autocast(), fast:
            yield

    @property
    def name(self) -> str:
        return {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[self.amp]


def choose(train: Train) -> Precision:
    """Turn the settings `device` and `amp` into what this machine can do.

    `auto` is bf16 where the hardware has it (GPUs from Ampere on, CPUs with AVX-512 BF16 or AMX), fp16 on older GPUs,
    and FP32 on other CPUs, which emulate bf16 more slowly than they run FP32.

    Raises:
        FeropsError: what is asked for does not exist here.
    """
    device = _device(train.device)
    if train.compile:
        _require_compiler(device)
    native = native_bf16(device)
    if train.amp == "off":
        return Precision(device, None)
    if train.amp == "bf16" and not native:
        raise FeropsError(
            f"train.amp is bf16, but this machine's {device.type} has no bf16 arithmetic. Set train.amp to auto or off"
        )
    if train.amp == "fp16" and device.type == "cpu":
        raise FeropsError("train.amp is fp16, which needs a GPU; this run is on the CPU. Set train.amp to auto")
    if train.amp == "fp16" or (train.amp == "auto" and not native and device.type == "cuda"):
        return Precision(device, torch.float16)
    return Precision(device, torch.bfloat16 if native else None)


def native_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bf16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise FeropsError("train.device is cuda, but torch sees no GPU here. Set train.device to auto or cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _require_compiler(device: torch.device) -> None:
    """torch.compile writes C++ on a CPU; on a GPU Triton, which compiles its launchers with a C compiler."""
    variable, usual = ("CC", ("gcc", "clang")) if device.type == "cuda" else ("CXX", ("g++",))
    named = os.environ.get(variable)
    if not any(shutil.which(name) for name in ([named] if named else usual)):
        raise FeropsError(
            f"train.compile is on, and no compiler was found for it: {named or ' or '.join(usual)}. Install one "
            f"(on Debian: apt-get install g++), name one in the environment variable {variable}, or set "
            "train.compile: false"
        )
