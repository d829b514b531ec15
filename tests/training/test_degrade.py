"""Loss of detail: resolution, blur and JPEG, each for its share of the images."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from ferops.training import degrade as module
from ferops.training.degrade import degrade

OFF = {"low_resolution_probability": 0.0, "blur_probability": 0.0, "jpeg_probability": 0.0}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def pixels():
    return torch.rand(100, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def changed(out, pixels):
    return ((out - pixels).abs().amax(dim=(1, 2, 3)) > 1e-3).numpy()


def test_all_off_draws_nothing(pixels, make_params):
    generator = rng()
    assert degrade(pixels, make_params(**OFF).train, generator) is pixels
    assert generator.random() == rng().random()


@pytest.mark.parametrize("kind", list(OFF))
@pytest.mark.parametrize("channels", [1, 3])
def test_each_takes_its_share_and_less_detail_is_left(pixels, make_params, kind, channels):
    pixels = pixels[:, :channels]
    before = pixels.clone()
    out = degrade(pixels, make_params(**OFF | {kind: 0.3}).train, rng())
    assert torch.equal(pixels, before)
    assert out.shape == pixels.shape
    assert out.min() >= 0.0
    assert out.max() <= 1.0
    touched = changed(out, pixels)
    assert touched.mean() == pytest.approx(0.3, abs=0.1)
    if kind == "jpeg_probability":
        return
    assert out[touched].diff(dim=3).abs().mean() < pixels[touched].diff(dim=3).abs().mean()
    again = degrade(pixels, make_params(**OFF | {kind: 0.3}).train, rng())
    assert torch.equal(out, again)


def test_lowering_is_torchs_resize(pixels):
    small = functional.interpolate(pixels[:2], size=(29, 29), mode="bilinear", antialias=True)
    wanted = functional.interpolate(small, size=(64, 64), mode="bilinear", antialias=True)
    matrix = module._resizing(64, 29)
    assert torch.allclose(matrix @ pixels[:2] @ matrix.T, wanted, atol=1e-5)


def test_a_blur_keeps_even_images_and_spreads_a_dot():
    matrix = module._blurring(25, 1.5)
    assert torch.allclose(matrix @ torch.full((25, 25), 0.4) @ matrix.T, torch.full((25, 25), 0.4), atol=1e-6)
    column = matrix[:, 12]
    places = torch.arange(25.0) - 12
    assert float((column * places.square()).sum()) == pytest.approx(1.5**2, rel=0.05)


def test_jpeg_is_what_others_decode(monkeypatch, make_params):
    """The same quality by Pillow gives nearly the same image."""
    monkeypatch.setattr(module, "JPEG_QUALITY", (60, 60))
    red, blue = torch.linspace(0, 1, 32).expand(32, 32), torch.full((32, 32), 0.2)
    image = torch.stack([red, red.T, blue])[None]
    out = degrade(image, make_params(**OFF | {"jpeg_probability": 1.0}).train, rng())
    file = io.BytesIO()
    Image.fromarray((255 * image[0]).round().byte().permute(1, 2, 0).numpy()).save(file, "jpeg", quality=60)
    theirs = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
    assert (out[0] - theirs).abs().max() < 0.03
