"""Augmentation of a whole batch on its device: one resampling, one colour change, loss of detail, one erasure, one
Mixup or CutMix.

All random numbers come from a NumPy generator that the caller seeds with (seed, epoch, step): an interrupted run that
goes on draws the same ones, on any device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ferops.config import Train
from ferops.training.degrade import degrade, on
from ferops.training.model import LUMA


def augment(pixels: Tensor, train: Train, rng: np.random.Generator) -> Tensor:
    """Flip, rotate, frame, colour, soften and erase each image by its own draw.

    Args:
        pixels: float `(N, 3, S, S)` in 0-1, or `(N, 1, S, S)` of grey faces.
        train: `flip_probability`, `rotation_degrees` (uniform within plus and minus), `crop_share` and `zoom_out` (the
            side of what is shown is uniform in 1 - crop_share to 1 + zoom_out, its place uniform), `brightness`,
            `contrast`, `saturation` (factors uniform in 1 - x to 1 + x), `grey_probability` (no colour is left), those
            of `ferops.training.degrade.degrade`, and `erase_probability` (a rectangle of ERASED_AREA and ERASED_RATIO
            becomes noise; Zhong et al. 2020, "Random erasing").

    Returns:
        A new tensor of the same shape, in 0-1. What a rotation or zooming out uncovers repeats the border: a reflected
        border would show parts of a second face.
    """
    coloured = _without_colour(_jitter(_warp(pixels, train, rng), train, rng), train.grey_probability, rng)
    return _erase(degrade(coloured, train, rng), train.erase_probability, rng)


def blend(pixels: Tensor, targets: Tensor, train: Train, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Apply `mixup` or `cutmix` as the settings say; where both are on, each batch draws one of them."""
    if train.cutmix_alpha and (not train.mixup_alpha or rng.random() < 0.5):
        return cutmix(pixels, targets, train.cutmix_alpha, rng)
    return mixup(pixels, targets, train.mixup_alpha, rng)


def cutmix(pixels: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Paste a box of another image of the batch over each image (Yun et al. 2019, "CutMix").

    Args:
        pixels: float `(N, 3, S, S)`, or `(N, 1, S, S)` of grey faces.
        targets: probabilities, float `(N, K)`; they are blended by the area that was really covered.
        alpha: the share that stays is drawn from Beta(alpha, alpha); the box is square, its centre uniform.
    """
    count, side = len(pixels), pixels.shape[-1]
    cut = side * np.sqrt(1.0 - rng.beta(alpha, alpha, size=count))
    boxes = _Boxes.draw(cut, cut, side, rng)
    partner = on(rng.permutation(count), pixels)
    share = _to(1.0 - boxes.rows.mean(axis=1) * boxes.columns.mean(axis=1), pixels)[:, None]
    return torch.where(boxes.mask(pixels), pixels[partner], pixels), share * targets + (1.0 - share) * targets[partner]


def mixup(pixels: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Blend each image and its target with those of another image of the batch (Zhang et al. 2018, "mixup").

    Args:
        pixels: float `(N, 3, S, S)`, or `(N, 1, S, S)` of grey faces.
        targets: probabilities, float `(N, K)`.
        alpha: the share of each image is drawn from Beta(alpha, alpha), one draw per pair; 0 changes nothing.
    """
    if not alpha:
        return pixels, targets
    count = len(pixels)
    share = _to(rng.beta(alpha, alpha, size=count), pixels)
    partner = on(rng.permutation(count), pixels)
    weight = share.view(-1, 1, 1, 1)
    mixed = torch.lerp(pixels[partner], pixels, weight)
    return mixed, share[:, None] * targets + (1.0 - share[:, None]) * targets[partner]


def _warp(pixels: Tensor, train: Train, rng: np.random.Generator) -> Tensor:
    count = len(pixels)
    flip = np.where(rng.random(count) < train.flip_probability, -1.0, 1.0)
    angle = np.deg2rad(rng.uniform(-train.rotation_degrees, train.rotation_degrees, count))
    side = rng.uniform(1.0 - train.crop_share, 1.0 + train.zoom_out, count)
    # The crop's centre, in units where the image spans -1 to 1: it stays inside, or a larger one holds all of the image
    centre = rng.uniform(-1.0, 1.0, (2, count)) * np.abs(1.0 - side)
    cosine, sine = side * np.cos(angle), side * np.sin(angle)
    # Output coordinates -> input coordinates, so the flip comes first and the crop's place last
    matrix = np.stack(
        [np.stack([flip * cosine, -sine, centre[0]], axis=1), np.stack([flip * sine, cosine, centre[1]], axis=1)],
        axis=1,
    )  # (N, 2, 3)
    grid = _grid(_to(matrix, pixels), pixels.shape[-1])
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _grid(matrix: Tensor, side: int) -> Tensor:
    """Return F.affine_grid's `(N, S, S, 2)` as one sum over rows and columns, which costs a CPU less than a product."""
    places = (2.0 * torch.arange(side, device=matrix.device, dtype=matrix.dtype) + 1.0) / side - 1.0  # pixels' centres
    columns, rows, shift = matrix[:, None, None].unbind(dim=-1)  # (N, 1, 1, 2) each
    return places.view(1, 1, side, 1) * columns + (places.view(1, side, 1, 1) * rows + shift)


def _jitter(pixels: Tensor, train: Train, rng: np.random.Generator) -> Tensor:
    def factor(spread: float) -> Tensor:
        return _to(rng.uniform(1.0 - spread, 1.0 + spread, len(pixels)), pixels).view(-1, 1, 1, 1)

    brightness, contrast, saturation = factor(train.brightness), factor(train.contrast), factor(train.saturation)
    grey = _grey(pixels)  # (N, 1, S, S)
    mean = grey.mean(dim=(2, 3), keepdim=True)  # (N, 1, 1, 1): saturation leaves it as it is
    # brightness * (mean + contrast * (grey + saturation * (pixels - grey) - mean)), as one product of the whole batch
    # and one sum: the rest has a single channel
    rest = brightness * ((1.0 - contrast) * mean + contrast * (1.0 - saturation) * grey)
    return torch.addcmul(rest, pixels, brightness * contrast * saturation).clamp_(0.0, 1.0)


def _without_colour(pixels: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    if not probability or pixels.shape[1] == 1:
        return pixels
    chosen = on(rng.random(len(pixels)) < probability, pixels).view(-1, 1, 1, 1)
    return torch.where(chosen, _grey(pixels), pixels)


def _grey(pixels: Tensor) -> Tensor:
    if pixels.shape[1] == 1:
        return pixels
    grey: Tensor = LUMA[0] * pixels[:, :1] + LUMA[1] * pixels[:, 1:2] + LUMA[2] * pixels[:, 2:]
    return grey


ERASED_AREA = (0.02, 0.25)
ERASED_RATIO = (0.3, 3.3)
"""Of the erased rectangle: share of the image's area, and height to width (drawn evenly on a log scale)."""


def _erase(pixels: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    if not probability:
        return pixels
    side = pixels.shape[-1]
    rows = np.flatnonzero(rng.random(len(pixels)) < probability)
    if not len(rows):
        return pixels
    area = rng.uniform(*ERASED_AREA, len(rows))
    ratio = np.exp(rng.uniform(np.log(ERASED_RATIO[0]), np.log(ERASED_RATIO[1]), len(rows)))
    boxes = _Boxes.draw(side * np.sqrt(area * ratio), side * np.sqrt(area / ratio), side, rng)
    noise = on(rng.random((len(rows), 1, side, side), dtype=np.float32), pixels)
    chosen, erased = on(rows, pixels), pixels.clone()
    erased[chosen] = torch.where(boxes.mask(pixels), noise, pixels[chosen])
    return erased


@dataclass(frozen=True)
class _Boxes:
    """A box in each image: which `rows` and `columns` it covers, `(N, S)` each; the mask is made on the device."""

    rows: NDArray[np.bool_]
    columns: NDArray[np.bool_]

    @classmethod
    def draw(
        cls, height: NDArray[np.float64], width: NDArray[np.float64], side: int, rng: np.random.Generator
    ) -> _Boxes:
        """Draw boxes with these sides in pixels around uniform centres, cut at the border."""
        places = np.arange(side) + 0.5
        rows = np.abs(places - rng.uniform(0, side, (len(height), 1))) < height[:, None] / 2
        columns = np.abs(places - rng.uniform(0, side, (len(width), 1))) < width[:, None] / 2
        return cls(rows, columns)

    def mask(self, like: Tensor) -> Tensor:
        """Return which pixels the boxes cover, `(N, 1, S, S)`."""
        return (on(self.rows, like)[:, :, None] & on(self.columns, like)[:, None, :])[:, None]


def _to(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return on(values.astype(np.float32), like)
