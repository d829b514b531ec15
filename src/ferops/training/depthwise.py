"""Depthwise convolutions that train fast in bf16 on a CPU.

oneDNN has no good bf16 kernels for the gradients of strided and 5x5 depthwise convolutions: they take 5 to 12 times as
long as in FP32, which makes a MobileNet or an EfficientNet slower in bf16 than in FP32, though everything else in it is
faster. So these gradients, and nothing else, are computed in FP32 (benchmarks/train.py measures it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class FastDepthwise(TorchFunctionMode):
    """Context manager for the forward pass: depthwise convolutions without bias get FP32 gradients of bf16 results."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.conv2d and not kwargs and len(args) == 7:
            images, weight, bias, stride, padding, dilation, groups = args
            depthwise = groups > 1 and groups == images.shape[1] == weight.shape[0]
            if depthwise and bias is None and not isinstance(padding, str):
                places = (_pair(stride), _pair(padding), _pair(dilation))
                return _Depthwise.apply(images, weight, *places)
        return func(*args, **(kwargs or {}))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, *places: tuple[int, int]) -> Tensor:
        low = images.to(torch.bfloat16)
        ctx.save_for_backward(low, weight)
        ctx.places, ctx.given = places, images.dtype
        stride, padding, dilation = places
        return F.conv2d(low, weight.to(torch.bfloat16), None, stride, padding, dilation, weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        images, weight = ctx.saved_tensors
        for_images, for_weight, _ = torch.ops.aten.convolution_backward(
            gradient.float(),
            images.float(),
            weight,
            None,
            *ctx.places,
            False,  # not transposed
            [0, 0],
            weight.shape[0],
            (ctx.needs_input_grad[0], ctx.needs_input_grad[1], False),
        )
        return for_images if for_images is None else for_images.to(ctx.given), for_weight, None, None, None


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
