"""Whether a heat map is right: does the answer go when what it marks is blurred, and come when it alone is sharp?

Deletion and insertion after Petsiuk, Das and Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box
Models". Maps that know nothing of the network, random ones and a spot in the middle of the face, are the controls: a
method that does not beat them explains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


class Answers(Protocol):
    """A network to follow: `ferops.training.model.ExpressionNet`, or one that answers otherwise."""

    def pixels(self, faces: Tensor) -> Tensor:
        """Return `(N, 3, S, S)`, as `answer` takes them, of uint8 faces `(N, S, S, 3)`."""

    def answer(self, pixels: Tensor) -> Tensor:
        """Return logits `(N, K)`."""


CELLS = 12
"""A side of the face is cut into so many cells, which are blurred or shown as a whole."""

STEPS = 10


@dataclass(frozen=True)
class Curves:
    """Probability of the class asked about, `(N, STEPS + 1)`: with ever more of the face blurred, and shown."""

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]

    @property
    def gap(self) -> NDArray[np.float64]:
        """`(N,)` the area under insertion minus that under deletion, -1 to 1: the higher, the truer the map."""
        return _area(self.insertion) - _area(self.deletion)


def curves(
    net: Answers, faces: NDArray[np.uint8], classes: NDArray[np.intp], maps: NDArray[np.float32], *, seed: int
) -> Curves:
    """Follow the answers to `faces` `(N, S, S, 3)` while the cells that `maps` `(N, S, S)` rank first go, or come.

    Args:
        classes: `(N,)` the class whose probability is followed.
        seed: of the order among equal cells.
    """
    pixels = net.pixels(torch.from_numpy(faces))
    blurred = _blur(pixels)
    ranks = _ranks(torch.from_numpy(maps), torch.Generator().manual_seed(seed))
    asked = torch.from_numpy(classes).long()[:, None]
    found: dict[str, list[Tensor]] = {"deletion": [], "insertion": []}
    with torch.inference_mode():
        for step in range(STEPS + 1):
            marked = ranks < round(CELLS * CELLS * step / STEPS)
            mask = F.interpolate(marked[:, None].float(), size=faces.shape[1:3], mode="nearest")
            for name, sharp in (("deletion", 1 - mask), ("insertion", mask)):
                answer = net.answer(pixels * sharp + blurred * (1 - sharp)).softmax(dim=1)
                found[name].append(answer.gather(1, asked)[:, 0])
    deletion, insertion = (torch.stack(each, dim=1).double().numpy() for each in found.values())
    return Curves(deletion, insertion)


def random_maps(n: int, size_px: int, *, seed: int) -> NDArray[np.float32]:
    """Return `(N, S, S)` maps of noise."""
    return np.random.default_rng(seed).random((n, size_px, size_px), dtype=np.float32)


def centre_maps(n: int, size_px: int) -> NDArray[np.float32]:
    """Return `(N, S, S)` maps that are high in the middle of the face, where most of an expression is."""
    way = np.linspace(-1, 1, size_px, dtype=np.float32)
    spot = np.exp(-(way[:, None] ** 2 + way[None, :] ** 2))
    return np.broadcast_to(spot, (n, size_px, size_px)).copy()


def _area(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((curve[:, :-1] + curve[:, 1:]).mean(axis=1) / 2)


def _ranks(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Return `(N, CELLS, CELLS)`: 0 for the cell that the map marks most."""
    cells = F.adaptive_avg_pool2d(maps[:, None], CELLS).flatten(1)
    shuffled = torch.rand(cells.shape, generator=generator).argsort(dim=1)  # cells without heat come in any order
    order = shuffled.gather(1, cells.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))
    return order.argsort(dim=1).view(-1, CELLS, CELLS)


def _blur(pixels: Tensor) -> Tensor:
    """Blur until a mouth is a shade: the cell's neighbourhood stays, its expression goes."""
    from torchvision.transforms import functional as transforms

    sigma = pixels.shape[-1] / CELLS
    side = 2 * round(2 * sigma) + 1
    blurred: Tensor = transforms.gaussian_blur(pixels, [side, side], [sigma, sigma])
    return blurred
