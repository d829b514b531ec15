"""An ensemble as one network: the mean of its members' calibrated probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The backbone of an ExpressionNet with mean 0 and std 1: each member normalises, and takes colour out, itself.

    Deep ensembles (Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep
    ensembles"), with each member calibrated first, so that an overconfident one does not outvote the others.

    Args:
        members: ExpressionNets of one size and with the same classes.
        temperatures: divide the members' logits before the softmax.
    """

    def __init__(self, members: Sequence[nn.Module], temperatures: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.temperatures = tuple(temperatures)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map float32 `(N, 3, S, S)` in 0-1 to the logarithm of the mean probabilities `(N, K)`.

        Its softmax is that mean, so it is used like logits, by a further temperature too.
        """
        answers = (member.answer(pixels).float() for member in self.members)  # type: ignore[operator]
        logs = [(logits / t).log_softmax(dim=1) for logits, t in zip(answers, self.temperatures, strict=True)]
        return torch.stack(logs).logsumexp(dim=0) - math.log(len(logs))
