"""Heat maps of a network whose answers are known: one half of the face speaks for each class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import blobs
import exports
from ferops.classes import DEFAULT_CLASSES
from ferops.evaluation.bootstrap import Resampler
from ferops.explanation.check import CONTROLS, _likeness, check, verdict
from ferops.explanation.deletion import STEPS, centre_maps, curves, random_maps
from ferops.explanation.heat import heat_maps
from ferops.model_config import ModelConfig
from ferops.records.explain import Heat, HeatCheck
from ferops.records.metrics import Interval
from ferops.training import model, pretrained
from ferops.training.model import ExpressionNet
from ferops.training.packaged import IMAGENET_MEAN, IMAGENET_STD

SIZE_PX = 48


class Halves(nn.Module):
    """The first class is answered by what is bright on the left, the second by what is bright on the right."""

    feature_info = ({"module": "fine", "reduction": 4}, {"module": "coarse", "reduction": 16})

    def __init__(self, *, swapped: bool = False) -> None:
        super().__init__()
        self.fine, self.coarse = nn.AvgPool2d(4), nn.AvgPool2d(4)
        self.order = [1, 0] if swapped else [0, 1]

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.coarse(self.fine(pixels.mean(dim=1, keepdim=True)))
        weights = torch.linspace(1, 0, cells.shape[-1]).expand_as(cells)
        left, right = ((cells * each).sum(dim=(1, 2, 3)) for each in (weights, 1 - weights))
        return 4 * torch.stack([left, right], dim=1)[:, self.order]


def net(*, swapped: bool = False) -> ExpressionNet:
    return ExpressionNet(Halves(swapped=swapped), size_px=SIZE_PX, mean=(0.0,) * 3, std=(1.0,) * 3).eval()


@pytest.fixture
def faces() -> NDArray[np.uint8]:
    """Detail everywhere, so that blurring it changes something."""
    return np.random.default_rng(1).integers(0, 256, (6, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)


def halves(maps: NDArray[np.float32] | None) -> tuple[float, float]:
    assert maps is not None
    return float(maps[:, :, : SIZE_PX // 2].mean()), float(maps[:, :, SIZE_PX // 2 :].mean())


def test_a_map_marks_what_speaks_for_the_class_that_is_asked_about(faces: NDArray[np.uint8]) -> None:
    first, second = np.zeros(6, np.intp), np.ones(6, np.intp)
    left, right = halves(heat_maps(net(), faces, first))
    assert left > 2 * right
    left, right = halves(heat_maps(net(), faces, second))
    assert right > 2 * left


def test_maps_are_of_the_faces_size_and_reach_from_0_to_1(faces: NDArray[np.uint8]) -> None:
    for method in ("layer_cam", "grad_cam"):
        maps = heat_maps(net(), faces, np.zeros(6, np.intp), method=method)
        assert maps is not None
        assert maps.shape == faces.shape[:3]
        assert maps.dtype == np.float32
        assert maps.min() >= 0
        assert np.allclose(maps.max(axis=(1, 2)), 1)


def test_a_black_face_has_no_heat_and_no_nan() -> None:
    maps = heat_maps(net(), np.zeros((1, SIZE_PX, SIZE_PX, 3), np.uint8), np.zeros(1, np.intp))
    assert maps is not None
    assert not maps.any()


def test_an_ensembles_map_is_the_mean_of_its_members(faces: NDArray[np.uint8]) -> None:
    classes = np.zeros(6, np.intp)
    both = heat_maps(model.combine([net(), net(swapped=True)], [1.0, 2.0]), faces, classes)
    one, other = heat_maps(net(), faces, classes), heat_maps(net(swapped=True), faces, classes)
    assert one is not None
    assert other is not None
    assert np.allclose(both, (one + other) / 2, atol=1e-6)


def test_a_vision_transformer_has_no_map() -> None:
    transformer = model.build("vit_tiny_patch16_224", num_classes=6, size_px=32).eval()
    assert heat_maps(transformer, np.zeros((1, 32, 32, 3), np.uint8), np.zeros(1, np.intp)) is None
    assert "no heat maps" in verdict(None)


def test_grey_networks_are_explained_without_colour(faces: NDArray[np.uint8]) -> None:
    grey = net()
    grey.grayscale = True
    maps = heat_maps(grey, faces, np.zeros(6, np.intp))
    luma = (faces @ np.array(model.LUMA)).round().astype(np.uint8)[..., None].repeat(3, axis=3)
    assert np.allclose(maps, heat_maps(net(), luma, np.zeros(6, np.intp)), atol=0.02)


def test_the_true_map_beats_the_controls(faces: NDArray[np.uint8]) -> None:
    spots = np.zeros_like(faces)
    spots[:, ::6, : SIZE_PX // 2 : 6] = 255
    classes = np.zeros(6, np.intp)
    right = np.zeros(faces.shape[:3], np.float32)
    right[:, :, : SIZE_PX // 2] = 1

    def gap(maps: NDArray[np.float32]) -> float:
        return float(curves(_dark_is_right(), spots, classes, maps, seed=1).gap.mean())

    assert gap(right) > gap(centre_maps(6, SIZE_PX)) + 0.01
    assert gap(right) > gap(1 - right) + 0.02
    assert abs(gap(random_maps(6, SIZE_PX, seed=2))) < gap(right)


def _dark_is_right() -> ExpressionNet:
    """The first class is answered by sharp spots: the brightest pixel of each cell on the left."""

    class Spots(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            left = nn.functional.max_pool2d(pixels[..., : SIZE_PX // 2], 4).mean(dim=(1, 2, 3))
            return torch.stack([20 * left, torch.full_like(left, 3.0)], dim=1)

    return ExpressionNet(Spots(), size_px=SIZE_PX, mean=(0.0,) * 3, std=(1.0,) * 3).eval()


def test_curves_begin_and_end_with_the_whole_face_and_the_blurred_one(faces: NDArray[np.uint8]) -> None:
    found = curves(net(), faces, np.zeros(6, np.intp), random_maps(6, SIZE_PX, seed=1), seed=1)
    assert found.deletion.shape == found.insertion.shape == (6, STEPS + 1)
    assert np.allclose(found.deletion[:, 0], found.insertion[:, -1])
    assert np.allclose(found.deletion[:, -1], found.insertion[:, 0])
    assert (np.abs(found.gap) <= 1).all()


def test_likeness() -> None:
    first, other = random_maps(20, 24, seed=1), random_maps(20, 24, seed=2)
    assert _likeness(first, first) == pytest.approx(1.0)
    assert _likeness(first, 1 - first) == pytest.approx(-1.0)
    assert abs(_likeness(first, other)) < 0.1
    assert _likeness(first, np.zeros_like(first)) == 0.0


def _heat(**leads: float) -> Heat:
    """A check in which LayerCAM leads the controls by at least so much."""
    checks = {}
    for kind in CONTROLS:
        low = leads.get(kind, 0.1)
        figure = Interval(value=low + 0.1, low=low, high=low + 0.2)
        checks[kind] = HeatCheck(deletion=0.3, insertion=0.7, gap=figure, lead=figure)
    return Heat(faces=40, checks=checks, same_without_learning=0.2)


def test_the_verdict_follows_the_check() -> None:
    assert "better than a spot in the middle of the face, maps of the same network" in verdict(_heat())
    assert "no better than a spot in the middle of the face." in verdict(_heat(centre=-0.1))
    both = verdict(_heat(centre=0.0, unlearnt=-0.1))
    assert both.startswith("Do not trust")
    assert "of the face and maps of the same network with random weights" in both


@pytest.mark.slow
def test_other_weights_give_other_maps() -> None:
    """The sanity check of Adebayo et al. 2018, "Sanity Checks for Saliency Maps", on weights that come with ferops."""
    classes = DEFAULT_CLASSES
    config = ModelConfig(
        architecture="tf_efficientnet_lite0",
        classes=classes,
        size_px=64,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        parameters=1,
        provenance=exports.provenance(),
        licence="Apache-2.0",
    )
    learnt = model.from_config(config).eval()
    pretrained.pretrain(learnt.backbone, config.architecture, "imagenet")
    images, _ = blobs.blobs(2, seed=2)
    faces = images.repeat(2, axis=1).repeat(2, axis=2)
    rows = Resampler(range(12), samples=100, seed=1, level=0.95)
    found = check(learnt, config, faces, np.zeros(12, np.intp), rows, seed=1)
    assert found is not None
    assert list(found.checks) == ["layer_cam", "grad_cam", "centre", "unlearnt", "random"]
    assert found.checks["layer_cam"].lead.value == 0
    assert found.same_without_learning < 0.7
