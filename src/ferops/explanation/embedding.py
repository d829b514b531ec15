"""Where the network puts the faces: its last features in two and three dimensions, and each face's neighbours."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ferops.explanation.heat import members_of
from ferops.records.explain import Method
from ferops.training.model import ExpressionNet

NEIGHBOURS = 10

_BATCH = 64


_FEWEST = 20
"""Faces below which PaCMAP has too few neighbours and non-neighbours to choose from."""


@dataclass(frozen=True)
class Projection:
    """Faces as points `(N, D)`, and how far they can be trusted.

    Attributes:
        trustworthiness: 0.5 (chance) to 1, of scikit-learn: what is near here was near in the features (Venna and
            Kaski 2001).
        agreement: share of the ten nearest points with the same label.
    """

    method: Method
    points: NDArray[np.float32]
    trustworthiness: float
    agreement: float

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return int(self.points.shape[1])


def features(net: ExpressionNet, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the last layer is given, `(N, C)`; an ensemble's are its members' side by side."""
    members = members_of(net)
    found = []
    with torch.inference_mode():
        for start in range(0, len(faces), _BATCH):
            pixels = net.pixels(torch.from_numpy(faces[start : start + _BATCH]))
            found.append(torch.cat([_penultimate(member, pixels) for member in members], dim=1))
    return torch.cat(found).numpy().astype(np.float32)


def _penultimate(net: ExpressionNet, pixels: torch.Tensor) -> torch.Tensor:
    trunk = net.backbone
    seen = (net.shown(pixels) - net.mean) / net.std
    answer: torch.Tensor = trunk.forward_head(trunk.forward_features(seen), pre_logits=True)  # type: ignore[operator]
    return answer.flatten(1)


def projections(found: NDArray[np.float32], labels: NDArray[np.intp], *, seed: int) -> tuple[Projection, ...]:
    """Project features `(N, C)` into two and three dimensions by t-SNE, and by PaCMAP where it is installed."""
    methods: list[tuple[Method, Callable[..., Any]]] = [("t-SNE", _tsne)]
    # A network that finds all faces alike has no neighbours to keep
    if importlib.util.find_spec("pacmap") and len(found) >= _FEWEST and _differ(found):
        methods.append(("PaCMAP", _pacmap))
    return tuple(
        _judged(method, found, place(found, dimensions=dimensions, seed=seed), labels)
        for method, place in methods
        for dimensions in (2, 3)
    )


def _tsne(found: NDArray[np.float32], *, dimensions: int, seed: int) -> Any:
    """By t-SNE (van der Maaten and Hinton 2008), started from the principal components."""
    from sklearn.manifold import TSNE

    return TSNE(
        dimensions,
        perplexity=min(30.0, (len(found) - 1) / 3),
        learning_rate=len(found) / 12,  # scikit-learn's is no lower than 50, where maps of few points fall apart
        init="pca" if _differ(found) else "random",
        random_state=seed,
    ).fit_transform(found)


def _pacmap(found: NDArray[np.float32], *, dimensions: int, seed: int) -> Any:
    """By PaCMAP (Wang et al. 2021), which pulls at further points, too, for the overall shape."""
    import pacmap

    logging.getLogger("pacmap").setLevel(logging.ERROR)  # it warns of every seed
    return pacmap.PaCMAP(n_components=dimensions, random_state=seed).fit_transform(found)


def _differ(found: NDArray[np.float32]) -> bool:
    return bool(np.ptp(found, axis=0).max() > 1e-4)


def _judged(method: Method, found: NDArray[np.float32], points: Any, labels: NDArray[np.intp]) -> Projection:
    from sklearn.manifold import trustworthiness

    k = min(NEIGHBOURS, (len(found) - 1) // 2)
    return Projection(
        method=method,
        points=np.asarray(points, dtype=np.float32),
        trustworthiness=float(trustworthiness(found, points, n_neighbors=k)),
        agreement=agreement(nearest(points), labels),
    )


def agreement(neighbours: NDArray[np.intp], labels: NDArray[np.intp]) -> float:
    """Return the share of each point's `neighbours` `(N, k)` that have its label."""
    return float((labels[neighbours] == labels[:, None]).mean())


def nearest(points: NDArray[np.float32], *, k: int = NEIGHBOURS) -> NDArray[np.intp]:
    """Return the `k` nearest other points of each, `(N, k)`, the nearest first; fewer where there are not so many."""
    from sklearn.neighbors import NearestNeighbors

    k = min(k, len(points) - 1)
    found: NDArray[np.intp] = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    return found
