"""The running statistics of batch normalisation: of new faces, and when several processes each see a share of them."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ferops.training.distributed import World

STATISTICS_FACES = 512
STATISTICS_BATCH = 64


@torch.no_grad()
def restate(net: nn.Module, images: NDArray[np.uint8], *, seed: int) -> None:
    """Give all batch norms the statistics of faces, and scale and shift such that the network computes the same.

    A network whose norms were folded into other layers becomes one that trains as if they had not been.

    Args:
        net: takes uint8 faces; it is left in evaluation mode.
        images: uint8 `(N, S, S, 3)`, of which STATISTICS_FACES are drawn.
    """
    sums: dict[_BatchNorm, Tensor] = {}  # (3, C): number, sum, sum of squares, in double precision

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double().transpose(0, 1).flatten(1)  # (C, values)
        seen = torch.stack([torch.full_like(values[:, 0], values.shape[1]), values.sum(1), values.square().sum(1)])
        sums[norm] = sums.get(norm, torch.zeros_like(seen)) + seen  # type: ignore[index, call-overload]

    hooks = [module.register_forward_pre_hook(note) for module in net.modules() if isinstance(module, _BatchNorm)]
    net.eval()
    rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:STATISTICS_FACES])
    for some in np.array_split(rows, -(-len(rows) // STATISTICS_BATCH)):
        net(torch.from_numpy(images[some]))
    for hook in hooks:
        hook.remove()
    for norm, (count, total, squares) in sums.items():
        if norm.running_mean is None or norm.running_var is None or not norm.affine:
            continue
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0.0)
        scale = norm.weight / torch.sqrt(norm.running_var.double() + norm.eps)
        shift = norm.bias - scale * norm.running_mean
        norm.weight.copy_(scale * torch.sqrt(variance + norm.eps))
        norm.bias.copy_(shift + scale * mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


@torch.no_grad()
def measure_again(
    net: nn.Module,
    images: NDArray[np.uint8],
    weights: NDArray[np.float64] | None,
    *,
    count: int,
    seed: int,
    device: torch.device,
) -> None:
    """Give all batch norms the running statistics of faces as they are; everything else stays.

    In training they follow weights that move, and faces that are blended, covered and worsened. "Precise BatchNorm": Wu
    and Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3; each is the mean over batches of STATISTICS_BATCH.

    Args:
        net: on `device`, takes uint8 faces; it is left in evaluation mode.
        images: uint8 `(N, S, S, 3)`, of which `count`, or all, are drawn.
        weights: how often each is drawn in training, `(N,)` up to scale; None for alike.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.running_mean is not None]
    momenta = [norm.momentum for norm in norms]
    shares = np.full(len(images), 1.0) if weights is None else weights
    count = min(count, int(np.count_nonzero(shares)))
    rows = np.random.default_rng(seed).choice(len(images), count, replace=False, p=shares / shares.sum())
    net.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    for some in np.array_split(rows, -(-count // STATISTICS_BATCH)):
        net(torch.from_numpy(images[np.sort(some)]).to(device))
    net.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


class RunningStatistics:
    """Merges the running means and variances of all processes into the ones that a lone process would have.

    Every norm moves its statistics towards those of each micro-batch by its momentum m: r <- (1 - m) r + m s. Where the
    processes' micro-batches are those that a lone process takes one after the other (`chained`), their updates are
    chained too. Where a micro-batch had to be split, the mean over the processes stands for all of it.

    Args:
        micro_batches: in which each process takes its share of a step.
    """

    def __init__(self, net: nn.Module, world: World, *, micro_batches: int, chained: bool) -> None:
        self.net, self.world, self.micro_batches, self.chained = net, world, micro_batches, chained
        self.norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
        self.before = torch.empty(0)

    @property
    def inactive(self) -> bool:
        """Whether there is nothing to merge: one process, no norms, or they stand still."""
        return self.world.size == 1 or not self.norms or not self.net.training

    def snapshot(self) -> None:
        """Note the statistics before a step."""
        if not self.inactive:
            self.before = self._flat()

    @torch.no_grad()
    def merge(self) -> None:
        """Bring all processes to the same statistics after the forward passes of a step."""
        if self.inactive:
            return
        kept = self._kept() if self.chained else torch.zeros_like(self.before)
        later = self.world.size - 1 - self.world.rank  # processes whose micro-batches come after this one's
        moved = (self._flat() - kept * self.before) * (kept**later if self.chained else 1.0 / self.world.size)
        dist.all_reduce(moved)
        merged = moved + kept**self.world.size * self.before
        buffers = self._buffers()
        for buffer, values in zip(buffers, torch.split(merged, [len(b) for b in buffers]), strict=True):
            buffer.copy_(values)

    def _kept(self) -> Tensor:
        """Return which share of each statistic is left after a process's micro-batches."""
        shares = [(1.0 - (norm.momentum or 0.0)) ** self.micro_batches for norm in self.norms for _ in range(2)]
        return torch.cat([torch.full_like(b, share) for b, share in zip(self._buffers(), shares, strict=True)])

    def _buffers(self) -> list[Tensor]:
        return [b for norm in self.norms for b in (norm.running_mean, norm.running_var) if b is not None]

    def _flat(self) -> Tensor:
        return torch.cat(self._buffers())
