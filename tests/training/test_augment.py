from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from ferops.training.augment import ERASED_AREA, ERASED_RATIO, _erase, _grid, augment, blend, cutmix, mixup

STILL = {
    "flip_probability": 0.0,
    "rotation_degrees": 0.0,
    "crop_share": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "erase_probability": 0.0,
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


def test_zooming_out_shows_all_of_the_image_and_repeats_its_border(make_params):
    ramp = torch.linspace(0, 1, 100).expand(200, 3, 100, 100)
    out = augment(ramp, make_params(**STILL | {"zoom_out": 0.5}).train, rng())
    row = out[:, 0, 50]
    assert row[:, 0].max() < 0.02
    assert row[:, -1].min() > 0.98
    step = row.diff(dim=1).max(dim=1).values * 99  # of the ramp, where it is seen
    assert step.min() >= 0.99
    assert 1.45 < step.max() < 1.51


def test_grey_takes_its_share_and_keeps_the_luma(pixels, make_params):
    many = pixels.repeat(50, 1, 1, 1)
    out = augment(many, make_params(**STILL | {"grey_probability": 0.25}).train, rng())
    grey = (out.std(dim=1).amax(dim=(1, 2)) < 1e-6).numpy()
    assert grey.mean() == pytest.approx(0.25, abs=0.06)
    luma = (many * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1)
    assert torch.allclose(out[grey][:, 0], luma[grey], atol=1e-5)
    assert torch.allclose(out[~grey], many[~grey], atol=1e-5)


@pytest.mark.parametrize("side", [1, 24, 33])
def test_sampling_places_are_torchs(side):
    matrix = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    wanted = functional.affine_grid(matrix, [5, 3, side, side], align_corners=False)
    assert torch.allclose(_grid(matrix, side), wanted, atol=2e-6)


def test_colour_factors(make_params):
    grey = torch.full((300, 3, 4, 4), 0.4)
    bright = augment(grey, make_params(**STILL | {"brightness": 0.25}).train, rng())
    assert 0.299 < bright.min() < 0.32
    assert 0.48 < bright.max() <= 0.501
    for still in ({"contrast": 0.5}, {"saturation": 0.5}):  # a flat grey image has neither
        assert torch.allclose(augment(grey, make_params(**STILL | still).train, rng()), grey, atol=1e-6)


def test_saturation_keeps_the_grey_image(pixels, make_params):
    pixels = 0.3 + 0.4 * pixels  # far from 0 and 1: nothing is clamped
    out = augment(pixels, make_params(**STILL | {"saturation": 0.5}).train, rng())
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert torch.allclose((out * luma).sum(1), (pixels * luma).sum(1), atol=1e-5)
    assert (out - pixels).abs().max() > 0.01


def test_colours_by_the_formula(pixels, make_params):
    spread = {"brightness": 0.2, "contrast": 0.3, "saturation": 0.4}
    out = augment(pixels, make_params(**STILL | spread).train, rng(5))
    draws = rng(5)
    draws.random((5, 8))  # flip, angle, side, and the centre's two
    b, c, s = (draws.uniform(1 - x, 1 + x, 8).reshape(8, 1, 1, 1) for x in spread.values())
    bright = b * pixels.double().numpy()
    grey = np.einsum("nchw,c->nhw", bright, [0.299, 0.587, 0.114])[:, None]
    coloured = grey + s * (bright - grey)
    mean = grey.mean(axis=(2, 3), keepdims=True)
    assert np.allclose(out.numpy(), np.clip(mean + c * (coloured - mean), 0, 1), atol=2e-5)


def test_one_channel_is_enough_for_grey_faces(make_params):
    grey = torch.rand(16, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    targets = torch.eye(6)[torch.arange(16) % 6]
    changes = {"rotation_degrees": 10.0, "crop_share": 0.1, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2}
    train = make_params(**changes, erase_probability=0.5, mixup_alpha=0.4, cutmix_alpha=1.0).train
    for seed in range(4):  # Mixup and CutMix both come
        drawn, again = rng(seed), rng(seed)
        one = blend(augment(grey, train, drawn), targets, train, drawn)
        three = blend(augment(grey.expand(-1, 3, -1, -1), train, again), targets, train, again)
        assert torch.allclose(one[0].expand(-1, 3, -1, -1), three[0], atol=1e-5)
        assert torch.equal(one[1], three[1])


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


@pytest.fixture
def numbered():
    """64 images whose every pixel tells whose it is, and targets that do the same."""
    return torch.arange(64.0).view(64, 1, 1, 1).expand(64, 3, 20, 20), torch.eye(64)


def test_cutmix_pastes_a_box_and_counts_its_area(numbered):
    images, targets = numbered
    mixed, blended = cutmix(images, targets, 1.0, rng(2))
    assert torch.equal(mixed[:, 0], mixed[:, 1])  # all channels alike
    assert torch.allclose(blended.sum(1), torch.ones(64))
    shares = []
    for row, (image, target) in enumerate(zip(mixed[:, 0], blended, strict=True)):
        other = image != row
        shares.append(float((~other).float().mean()))
        assert float(target[row]) == pytest.approx(shares[-1], abs=1e-6)
        if not other.any():
            continue
        partners = image[other].unique()
        assert len(partners) == 1
        assert float(target[int(partners)]) == pytest.approx(1 - shares[-1], abs=1e-6)
        rows, columns = other.any(1).nonzero().flatten(), other.any(0).nonzero().flatten()
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert int(other.sum()) == height * width  # a box, without holes
        inside = rows[0] > 0 and rows[-1] < 19 and columns[0] > 0 and columns[-1] < 19
        assert not inside or abs(height - width) <= 1  # square where the border does not cut it
    assert min(shares) < 0.3
    assert max(shares) > 0.9


@pytest.mark.parametrize("alpha", [0.5, 1.0, 4.0])
def test_cutmix_draws_boxes_of_a_beta_distribution(alpha):
    """The box's area, border cut, averages what the same Beta shares and uniform centres give, drawn independently."""
    images = torch.arange(3000.0).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    mixed, _ = cutmix(images, torch.eye(3000), alpha, rng(1))
    covered = float((mixed != images).float().mean())
    draws = np.random.default_rng(99)
    half = np.sqrt(1 - draws.beta(alpha, alpha, 100_000)) / 2
    centres = draws.uniform(0, 1, (2, 100_000))
    sides = np.minimum(centres + half, 1) - np.maximum(centres - half, 0)
    assert covered == pytest.approx(sides.prod(axis=0).mean(), abs=0.015)


def test_blend_takes_what_is_on(numbered, make_params):
    images, targets = numbered

    def kinds(**alphas):
        train, found = make_params(**alphas).train, set()
        for seed in range(12):
            mixed, _ = blend(images, targets, train, rng(seed))
            whole = bool((mixed == mixed.round()).all())  # mixup makes fractions, cutmix only moves pixels
            found.add("nothing" if mixed is images else "cutmix" if whole else "mixup")
        return found

    assert kinds(mixup_alpha=0.0, cutmix_alpha=0.0) == {"nothing"}
    assert kinds(mixup_alpha=1.0, cutmix_alpha=0.0) == {"mixup"}
    assert kinds(mixup_alpha=0.0, cutmix_alpha=1.0) == {"cutmix"}
    assert kinds(mixup_alpha=1.0, cutmix_alpha=1.0) == {"mixup", "cutmix"}


def test_erasing_puts_a_rectangle_of_noise():
    images = torch.full((400, 3, 40, 40), 2.0)  # 2 is no pixel's value: what is erased is seen
    out = _erase(images, 0.5, rng())
    hit = (out != 2.0).any(dim=3).any(dim=2).any(dim=1)
    assert hit.float().mean() == pytest.approx(0.5, abs=0.08)
    for image in out[hit]:
        gone = image[0] != 2.0
        assert torch.equal(gone, image[1] != 2.0)
        rows, columns = gone.any(1).nonzero().flatten(), gone.any(0).nonzero().flatten()
        height, width = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert int(gone.sum()) == height * width
        assert height * width <= (ERASED_AREA[1] + 0.05) * 1600
        if rows[0] > 0 and rows[-1] < 39 and columns[0] > 0 and columns[-1] < 39:  # not cut by the border
            assert height * width >= ERASED_AREA[0] * 1600 * 0.5
            assert ERASED_RATIO[0] * 0.7 < height / width < ERASED_RATIO[1] * 1.5
    noise = out[hit][(out[hit] != 2.0)]
    assert noise.min() >= 0.0
    assert noise.max() <= 1.0
    assert noise.mean() == pytest.approx(0.5, abs=0.02)
    assert noise.std() == pytest.approx(1 / 12**0.5, abs=0.02)  # uniform


def test_erasing_is_grey_and_part_of_augment(pixels, make_params):
    """Equal noise in the three channels: a network that learns from grey faces sees no colour there."""
    out = augment(pixels, make_params(**STILL | {"erase_probability": 1.0}).train, rng())
    changed = (out - pixels).abs().amax(dim=1) > 1e-4  # (N, S, S)
    assert changed.flatten(1).any(1).all()
    erased = out.permute(0, 2, 3, 1)[changed]
    assert torch.equal(erased[:, 0], erased[:, 2])
