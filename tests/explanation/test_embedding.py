"""Features, their projections and their neighbours."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest

from ferops.explanation import embedding
from ferops.training import model


def clouds(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds far apart, a label each."""
    rng = np.random.default_rng(1)
    labels = np.arange(n) % 2
    return (rng.normal(size=(n, 8)) + 40 * labels[:, None]).astype(np.float32), labels


def test_clouds_stay_apart() -> None:
    found, labels = clouds(100)
    made = embedding.projections(found, labels, seed=1)
    assert [(one.method, one.dimensions) for one in made][:2] == [("t-SNE", 2), ("t-SNE", 3)]
    for projection in made:
        assert projection.points.shape == (100, projection.dimensions)
        assert projection.agreement > 0.95
        assert projection.trustworthiness > 0.9


def test_pacmap_has_maps_too_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, or where there is none, one that keeps the first features."""

    class First:
        def __init__(self, *, n_components: int, **_: int) -> None:
            self.kept = n_components

        def fit_transform(self, found: np.ndarray) -> np.ndarray:
            return found[:, : self.kept]

    if importlib.util.find_spec("pacmap") is None:
        module = ModuleType("pacmap")
        module.PaCMAP = First  # type: ignore[attr-defined]
        module.__spec__ = ModuleSpec("pacmap", None)
        monkeypatch.setitem(sys.modules, "pacmap", module)
    found, labels = clouds(60)
    made = embedding.projections(found, labels, seed=1)
    assert [(one.method, one.dimensions) for one in made[2:]] == [("PaCMAP", 2), ("PaCMAP", 3)]
    assert all(one.agreement > 0.95 for one in made)
    few = embedding.projections(found[:6], labels[:6], seed=1)  # too few for it
    assert {one.method for one in few} == {"t-SNE"}


def test_a_network_that_finds_all_faces_alike_has_a_map_too() -> None:
    alike = np.full((30, 8), 0.25, np.float32)
    made = embedding.projections(alike, np.arange(30) % 2, seed=1)
    assert {one.method for one in made} == {"t-SNE"}
    assert all(np.isfinite(one.points).all() for one in made)


def test_neighbours_are_the_nearest_others() -> None:
    points = np.array([[0.0], [1.0], [3.0], [10.0]], np.float32)
    assert embedding.nearest(points, k=2).tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert embedding.nearest(points).shape == (4, 3)


def test_features_are_what_the_last_layer_is_given() -> None:
    net = model.build("resnet18", num_classes=4, size_px=32, seed=1).eval()
    faces = np.random.default_rng(2).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    found = embedding.features(net, faces)
    head = net.backbone.get_classifier()
    logits = found @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    import torch

    with torch.inference_mode():
        assert np.allclose(logits, net(torch.from_numpy(faces)).numpy(), atol=1e-4)
    both = model.combine([net, net], [1.0, 1.0])
    assert np.allclose(embedding.features(both, faces), np.hstack([found, found]))
