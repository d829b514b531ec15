"""The faces that the page shows, each with its heat map and its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferops.explanation.heat import heat_maps
from ferops.explanation.sample import Sample
from ferops.pages import image_uri
from ferops.training.model import ExpressionNet

PER_CLASS = 4
MISTAKES = 12
NEAR = 5

_SIDE_PX = 96


@dataclass(frozen=True)
class Figure:
    """A face as data URIs: as it is, and with its heat map, None where the network gives none."""

    face: str
    heat: str | None
    caption: str
    confidence: float


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, with the maps for the answer and for the label, and the faces that the network puts nearest."""

    answer: Figure
    label_heat: str | None
    near: tuple[Figure, ...]


@dataclass(frozen=True)
class Gallery:
    right: dict[str, tuple[Figure, ...]]
    mistakes: tuple[Mistake, ...]


def gallery(net: ExpressionNet, sample: Sample, neighbours: NDArray[np.intp]) -> Gallery:
    """Return the surest right answers of each class, and the surest mistakes.

    Args:
        neighbours: `(N, k)` rows of the sample, the nearest first.
    """
    surest = np.argsort(-sample.confidence, kind="stable")
    right, wrong = (surest[(sample.answers == sample.labels)[surest] == which] for which in (True, False))
    return Gallery(
        right={
            name: _figures(net, sample, right[sample.labels[right] == index][:PER_CLASS])
            for index, name in enumerate(sample.classes)
        },
        mistakes=_mistakes(net, sample, wrong[:MISTAKES], neighbours),
    )


def _mistakes(
    net: ExpressionNet, sample: Sample, rows: NDArray[np.intp], neighbours: NDArray[np.intp]
) -> tuple[Mistake, ...]:
    figures = _figures(net, sample, rows)
    for_label = _overlays(net, sample.faces[rows], sample.labels[rows])
    return tuple(
        Mistake(
            answer=figure, label_heat=heat, near=tuple(_figure(sample, near, None) for near in neighbours[row][:NEAR])
        )
        for row, figure, heat in zip(rows, figures, for_label, strict=True)
    )


def _figures(net: ExpressionNet, sample: Sample, rows: NDArray[np.intp]) -> tuple[Figure, ...]:
    overlays = _overlays(net, sample.faces[rows], sample.answers[rows])
    return tuple(_figure(sample, row, heat) for row, heat in zip(rows, overlays, strict=True))


def _figure(sample: Sample, row: np.intp, heat: str | None) -> Figure:
    return Figure(
        face=image_uri(sample.faces[row], side_px=_SIDE_PX, kind="jpeg"),
        heat=heat,
        caption=sample.caption(int(row)),
        confidence=float(sample.confidence[row]),
    )


def _overlays(net: ExpressionNet, faces: NDArray[np.uint8], classes: NDArray[np.intp]) -> list[str | None]:
    if not len(faces):
        return []
    maps = heat_maps(net, faces, classes)
    if maps is None:
        return [None] * len(faces)
    from matplotlib import colormaps

    heat = colormaps["inferno"](maps)[..., :3] * 255
    grey = faces.mean(axis=3, keepdims=True)
    return [
        image_uri(one, side_px=_SIDE_PX, kind="jpeg") for one in (0.45 * grey + 0.55 * heat).round().astype(np.uint8)
    ]
