"""Features, their projections and their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from ferops.explanation import embedding
from ferops.training import model


def clouds(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds far apart, a label each."""
    rng = np.random.default_rng(1)
    labels = np.arange(n) % 2
    return (rng.normal(size=(n, 8)) + 40 * labels[:, None]).astype(np.float32), labels


@pytest.mark.parametrize("dimensions", [2, 3])
def test_clouds_stay_apart(dimensions: int) -> None:
    found, labels = clouds(100)
    projection = embedding.project(found, labels, dimensions=dimensions, seed=1)
    assert projection.points.shape == (100, dimensions)
    assert projection.agreement > 0.95
    assert projection.trustworthiness > 0.9


def test_a_network_that_finds_all_faces_alike_has_a_map_too() -> None:
    alike = np.full((30, 8), 0.25, np.float32)
    assert np.isfinite(embedding.project(alike, np.arange(30) % 2, dimensions=3, seed=1).points).all()


def test_few_faces_are_projected_too() -> None:
    found, labels = clouds(6)
    assert embedding.project(found, labels, dimensions=2, seed=1).points.shape == (6, 2)


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
