from __future__ import annotations

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn
from torch.nn import functional as F

from ferops.training.depthwise import FastDepthwise, _Depthwise


def run(layer, images, *, fast):
    """Forward in bf16 autocast and backward of a fixed gradient; return values and gradients."""
    images = images.clone().requires_grad_()
    layer.zero_grad()
    mode = FastDepthwise() if fast else torch.autocast("cpu", enabled=False)
    with torch.autocast("cpu", dtype=torch.bfloat16), mode if fast else torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(images)
    gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(5))
    (out.float() * gradient).sum().backward()
    return out, gradient, images.grad, layer.weight.grad.clone()


def exact(layer, images, gradient):
    """The same in FP64."""
    twin, images = layer.double(), images.double().requires_grad_()
    twin.zero_grad()
    (twin(images) * gradient.double()).sum().backward()
    found = images.grad, twin.weight.grad.clone()
    layer.float()
    return found


@pytest.fixture
def images():
    return torch.randn(4, 8, 13, 13, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False),
        lambda: nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False),
        lambda: nn.Conv2d(8, 8, 3, (2, 1), (1, 2), dilation=2, groups=8, bias=False),
        lambda: Conv2dSame(8, 8, 5, 2, groups=8, bias=False),
    ],
    ids=["3x3", "5x5 strided", "dilated", "padded as TensorFlow does"],
)
def test_values_are_autocast_s_and_gradients_closer_to_exact(images, make):
    torch.manual_seed(0)
    layer = make()
    plain, gradient, *_ = run(layer, images, fast=False)
    fast, _, to_images, to_weight = run(layer, images, fast=True)
    assert fast.dtype == torch.bfloat16
    torch.testing.assert_close(fast, plain, rtol=2**-7, atol=2**-7)
    exact_images, exact_weight = exact(layer, images, gradient)
    assert to_images.dtype == to_weight.dtype == torch.float32
    # The incoming gradient and the images are bf16 (8 bits of mantissa), sums are FP32
    for found, wanted in ((to_images, exact_images), (to_weight, exact_weight)):
        error = (found.double() - wanted).norm() / wanted.norm()
        assert error < 2**-7


@pytest.mark.parametrize(
    ("make", "taken"),
    [
        (lambda: nn.Conv2d(8, 8, 3, groups=8, bias=False), True),
        (lambda: Conv2dSame(8, 8, 3, 2, groups=8, bias=False), True),
        (lambda: nn.Conv2d(8, 8, 3, groups=8, bias=True), False),
        (lambda: nn.Conv2d(8, 16, 3, groups=8, bias=False), False),
        (lambda: nn.Conv2d(8, 8, 3, groups=4, bias=False), False),
        (lambda: nn.Conv2d(8, 8, 3, bias=False), False),
        (lambda: nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False), False),
        (lambda: nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular", groups=8, bias=False), True),
    ],
    ids=["depthwise", "same", "bias", "multiplier", "grouped", "dense", "padding by name", "circular"],
)
def test_which_convolutions_take_the_path(images, make, taken, monkeypatch):
    torch.manual_seed(0)
    layer, calls = make(), []
    apply = _Depthwise.apply
    monkeypatch.setattr(_Depthwise, "apply", lambda *args: (calls.append(1), apply(*args))[1])
    plain, _, _, weight = run(layer, images, fast=False)
    assert not calls
    fast, _, _, fast_weight = run(layer, images, fast=True)
    assert bool(calls) == taken
    torch.testing.assert_close(fast, plain, rtol=2**-6, atol=2**-6)
    torch.testing.assert_close(fast_weight, weight, rtol=0.05, atol=0.05 * float(weight.abs().max()))


def test_one_channel_is_no_depthwise(images, monkeypatch):
    monkeypatch.setattr(_Depthwise, "apply", None)
    layer = nn.Conv2d(1, 1, 3, bias=False)
    with torch.autocast("cpu", dtype=torch.bfloat16), FastDepthwise():
        layer(images[:, :1])


def test_keywords_are_left_to_torch(images, monkeypatch):
    monkeypatch.setattr(_Depthwise, "apply", None)
    weight = torch.randn(8, 1, 3, 3)
    with FastDepthwise():
        found = F.conv2d(images, weight, groups=8)
    assert torch.equal(found, F.conv2d(images, weight, groups=8))


def test_frozen_weights_get_no_gradient(images):
    layer = nn.Conv2d(8, 8, 3, groups=8, bias=False).requires_grad_(False)
    images = images.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16), FastDepthwise():
        layer(images).float().sum().backward()
    assert layer.weight.grad is None
    assert images.grad is not None
