"""The running statistics of batch normalisation, when several processes each see a share of the images."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ferops.training.distributed import World


class RunningStatistics:
    """Merges the running means and variances of all processes into the ones that a lone process would have.

    Every norm moves its statistics towards those of each part of a step by its momentum m: r <- (1 - m) r + m s. Where
    the processes' parts are those that a lone process takes one after the other (`chained`), what they have moved is
    put one after the other too. Where a part had to be split, the mean over the processes stands for the whole part.

    Args:
        parts: of a step, that each process takes.
    """

    def __init__(self, net: nn.Module, world: World, *, parts: int, chained: bool) -> None:
        self.net, self.world, self.parts, self.chained = net, world, parts, chained
        self.norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
        self.before = torch.empty(0)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to merge: one process, no norms, or they stand still."""
        return self.world.size == 1 or not self.norms or not self.net.training

    def keep(self) -> None:
        """Note the statistics before a step."""
        if not self.idle:
            self.before = self._flat()

    @torch.no_grad()
    def merge(self) -> None:
        """Bring all processes to the same statistics after the forward passes of a step."""
        if self.idle:
            return
        stays = self._stays() if self.chained else torch.zeros_like(self.before)
        later = self.world.size - 1 - self.world.rank  # processes whose parts come after this one's
        moved = (self._flat() - stays * self.before) * (stays**later if self.chained else 1.0 / self.world.size)
        dist.all_reduce(moved)
        merged = moved + stays**self.world.size * self.before
        buffers = self._buffers()
        for buffer, values in zip(buffers, torch.split(merged, [len(b) for b in buffers]), strict=True):
            buffer.copy_(values)

    def _stays(self) -> Tensor:
        """Return which share of each statistic is left after a process's parts."""
        shares = [(1.0 - (norm.momentum or 0.0)) ** self.parts for norm in self.norms for _ in range(2)]
        return torch.cat([torch.full_like(b, share) for b, share in zip(self._buffers(), shares, strict=True)])

    def _buffers(self) -> list[Tensor]:
        return [b for norm in self.norms for b in (norm.running_mean, norm.running_var) if b is not None]

    def _flat(self) -> Tensor:
        return torch.cat(self._buffers())
