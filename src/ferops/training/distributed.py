"""Data-parallel training: what the processes that torchrun starts do apart, and what they must agree on.

Each process holds the whole network and takes its share of every optimiser step's images; gradients are averaged. A
lone process goes through all of this unchanged. docs/distributed.md shows how to start several.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors import torch as safetensors
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ferops.errors import FeropsError, StoppedError
from ferops.records import Record
from ferops.training.model import ExpressionNet

Header = TypeVar("Header", bound=Record)

LAUNCH = "FEROPS_TORCHRUN"
"""The environment variable with torchrun's arguments: `ferops train` then starts itself through torchrun."""


@dataclass(frozen=True)
class World:
    """The processes of one training, numbered from 0 by `rank`; `local_rank` counts those of this machine.

    All of them take every step together; process 0 alone validates, writes and reports.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this process validates, writes and reports for all."""
        return self.rank == 0

    @property
    def rng_key(self) -> tuple[int, ...]:
        """What sets this process's random draws apart from the others'; nothing where there is one process."""
        return (self.rank,) if self.size > 1 else ()

    def micro_batches(self, *, images: int, alone: int) -> int:
        """Return in how many micro-batches each process takes its share of a step of `images`.

        None is larger than those of a lone process, which takes the step in `alone`; and they are the very same where
        `alone` is a multiple of `size`: then batch normalisation sees what it sees in a lone process.

        Raises:
            FeropsError: the images of a step cannot be shared out evenly.
        """
        if images % self.size:
            raise FeropsError(
                f"one optimiser step takes {images} images (train.batch_size * train.accumulate), which {self.size} "
                f"processes cannot share evenly. Make it a multiple of {self.size}, or start fewer processes"
            )
        share = images // self.size
        return next(n for n in range(1, share + 1) if share % n == 0 and n * self.size >= alone)

    def shard(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's share of the rows of an optimiser step."""
        return np.split(rows, self.size)[self.rank]

    def parallel(self, net: ExpressionNet, *, compiled: bool = False) -> Callable[[Tensor], Tensor]:
        """Return `net.classify`, but the gradients of the parameters that now learn are averaged over all processes."""
        on_gpu = next(net.parameters()).is_cuda
        wrapped = DistributedDataParallel(
            _Classifier(net), device_ids=[self.local_rank] if on_gpu else None, forward_sync_buffers=False
        )
        return torch.compile(wrapped) if compiled else wrapped

    def gradient_sync(self, classify: Callable[[Tensor], Tensor], *, last: bool) -> AbstractContextManager[Any]:
        """Context of a micro-batch's forward and backward pass: the `last` one of a step exchanges the gradients."""
        if self.size == 1 or last:
            return nullcontext()
        return classify.no_sync()  # type: ignore[attr-defined, no-any-return]

    def mean(self, value: Tensor) -> float:
        """Return the mean of a scalar over all processes."""
        if self.size == 1:
            return float(value)
        total = value.detach().clone()
        dist.all_reduce(total)
        return float(total) / self.size

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process."""
        if self.size == 1:
            return list(flags)
        votes = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return [bool(vote) for vote in votes]

    def broadcast(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Return the numbers that process 0 has under these names."""
        if self.size == 1:
            return dict(numbers)
        values = torch.tensor(list(numbers.values()), dtype=torch.float64)
        dist.broadcast(values, src=0)
        return dict(zip(numbers, values.tolist(), strict=True))

    def broadcast_state(
        self, state: tuple[dict[str, Tensor], Header] | None, kind: type[Header]
    ) -> tuple[dict[str, Tensor], Header] | None:
        """Return the checkpoint that process 0 has loaded, if any: other machines may not see its folder."""
        if self.size == 1:
            return state
        header = json.loads(self._broadcast_bytes(json.dumps(state and state[1].as_json()).encode()))
        if header is None:
            return None
        tensors = self._broadcast_bytes(safetensors.save(state[0]) if state else b"")
        return safetensors.load(tensors), kind.model_validate(header)

    def require_same(self, fingerprint: str) -> None:
        """Raise FeropsError where this process's run is not the one of process 0."""
        if self.size > 1 and self._broadcast_bytes(fingerprint.encode()).decode() != fingerprint:
            raise FeropsError(
                f"process {self.rank} of {self.size} has other data, settings, hardware or pretrained weights than "
                "process 0: all must train the same model. Bring every machine to the same commit, params.yaml and data"
            )

    def once(self, error: FeropsError) -> FeropsError:
        """Return what this process raises where all of them raise: process 0 reports it, the others stop silently."""
        return error if self.main else StoppedError("process 0 reports why")

    def _broadcast_bytes(self, data: bytes) -> bytes:
        length = torch.tensor(len(data))
        dist.broadcast(length, src=0)
        content = (
            torch.frombuffer(bytearray(data), dtype=torch.uint8)
            if self.main
            else torch.empty(int(length), dtype=torch.uint8)
        )
        dist.broadcast(content, src=0)
        return content.numpy().tobytes()


class _Classifier(nn.Module):
    """What is trained of an ExpressionNet, as `forward`: all that DistributedDataParallel looks at."""

    def __init__(self, net: ExpressionNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> Tensor:
        return self.net.classify(pixels)


def from_environment() -> World:
    """Return the place that torchrun gave this process in RANK, WORLD_SIZE and LOCAL_RANK; without them it is alone."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return World()
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return World(rank=rank, size=size, local_rank=int(os.environ.get("LOCAL_RANK", rank)))


def relaunch(*arguments: str) -> None:
    """Become `torchrun $FEROPS_TORCHRUN -m ferops ARGUMENTS`, if that variable is set and this is not its child yet.

    So the command of a stage in dvc.yaml stays the same, however many processes it runs in.
    """
    wanted = os.environ.get(LAUNCH)
    if not wanted or "RANK" in os.environ:
        return
    command = ["-m", "torch.distributed.run", *shlex.split(wanted), "-m", "ferops", *arguments]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *command])


def select_gpu(world: World, device: torch.device) -> None:
    """Give each process of this machine a GPU of its own. Raises FeropsError: there are more processes than GPUs."""
    if world.size == 1 or device.type != "cuda":
        return
    if world.local_rank >= torch.cuda.device_count():
        raise FeropsError(
            f"this machine has {torch.cuda.device_count()} GPUs, and torchrun started at least {world.local_rank + 1} "
            "processes on it. Lower --nproc-per-node"
        )
    torch.cuda.set_device(world.local_rank)


@contextmanager
def process_group(world: World, device: torch.device) -> Iterator[None]:
    """Connect the processes while they train: over NCCL on GPUs, over gloo on CPUs and for what they agree on.

    Raises:
        FeropsError: another process has gone.
    """
    if world.size == 1:
        yield
        return
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        yield
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise FeropsError(
            f"process {world.rank} of {world.size} has lost the others: one of them failed or was killed (its own "
            "message, or torchrun's report, says which). The last checkpoint is kept; the same command goes on from it"
        ) from error
    dist.destroy_process_group()  # after an error the others see for themselves that this process is gone


def _is_lost_connection(error: RuntimeError) -> bool:
    """gloo has no type of error of its own."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
