from __future__ import annotations

import numpy as np
import pytest
import torch

from ferops.training.augment import augment, mixup

STILL = {
    "flip_probability": 0.0,
    "rotation_degrees": 0.0,
    "crop_share": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def pixels():
    return torch.rand(8, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def test_all_off_leaves_the_images_alone(pixels, make_params):
    assert torch.allclose(augment(pixels, make_params(**STILL).train, rng()), pixels, atol=1e-5)


def test_flip_mirrors_left_and_right(pixels, make_params):
    train = make_params(**STILL | {"flip_probability": 1.0}).train
    assert torch.allclose(augment(pixels, train, rng()), pixels.flip(3), atol=1e-5)


def test_flip_takes_its_share(make_params):
    ramp = torch.linspace(0, 1, 24).expand(400, 3, 24, 24)
    out = augment(ramp, make_params(**STILL | {"flip_probability": 0.25}).train, rng())
    assert (out[:, 0, 0, 0] > 0.5).float().mean() == pytest.approx(0.25, abs=0.06)


def test_rotation_stays_in_its_range_and_keeps_the_centre(make_params):
    """A dot on the right arm of the image turns by at most 30 degrees, at the same distance."""
    image = torch.zeros(64, 3, 65, 65)
    image[:, :, 30:35, 54:59] = 1.0
    out = augment(image, make_params(**STILL | {"rotation_degrees": 30.0}).train, rng())[:, 0]
    y, x = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing="ij")
    mass = out.sum(dim=(1, 2))
    cy, cx = (out * y).sum(dim=(1, 2)) / mass, (out * x).sum(dim=(1, 2)) / mass
    degrees = torch.rad2deg(torch.atan2(cy, cx))
    assert degrees.abs().max() <= 30.5
    assert degrees.min() < -20
    assert degrees.max() > 20
    assert torch.allclose(torch.hypot(cy, cx), torch.tensor(24.0), atol=0.5)


def test_crop_shows_a_window_inside_the_image(make_params):
    ramp = torch.linspace(0, 1, 100).expand(200, 3, 100, 100)
    out = augment(ramp, make_params(**STILL | {"crop_share": 0.2}).train, rng())
    width = out[:, 0, 50, -1] - out[:, 0, 50, 0]  # the ramp's part that is seen is the window's side
    assert width.min() >= 0.79
    assert width.min() < 0.83
    assert width.max() <= 1.0


def test_colour_factors(make_params):
    grey = torch.full((300, 3, 4, 4), 0.4)
    bright = augment(grey, make_params(**STILL | {"brightness": 0.25}).train, rng())
    assert 0.299 < bright.min() < 0.32
    assert 0.48 < bright.max() <= 0.501
    for still in ({"contrast": 0.5}, {"saturation": 0.5}):  # a flat grey picture has neither
        assert torch.allclose(augment(grey, make_params(**STILL | still).train, rng()), grey, atol=1e-6)


def test_saturation_keeps_the_grey_picture(pixels, make_params):
    pixels = 0.3 + 0.4 * pixels  # far from 0 and 1: nothing is clamped
    out = augment(pixels, make_params(**STILL | {"saturation": 0.5}).train, rng())
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert torch.allclose((out * luma).sum(1), (pixels * luma).sum(1), atol=1e-5)
    assert (out - pixels).abs().max() > 0.01


def test_same_seed_same_images(pixels, make_params):
    train = make_params().train
    first = augment(pixels, train, rng(3))
    assert torch.equal(first, augment(pixels, train, rng(3)))
    assert not torch.equal(first, augment(pixels, train, rng(4)))
    assert first.min() >= 0.0
    assert first.max() <= 1.0


def test_mixup_blends_images_and_targets_alike():
    targets = torch.eye(6)
    images = targets.view(6, 6, 1, 1).expand(6, 6, 4, 4)[:, :3]  # channel k is 1 in image k
    mixed, blended = mixup(images, targets, 1.0, rng())
    assert torch.allclose(mixed[:, :, 0, 0], blended[:, :3])
    assert torch.allclose(blended.sum(1), torch.ones(6))
    assert ((blended > 0.05) & (blended < 0.95)).any()


def test_mixup_off_is_the_identity(pixels):
    targets = torch.eye(8)
    mixed, blended = mixup(pixels, targets, 0.0, rng())
    assert mixed is pixels
    assert blended is targets
