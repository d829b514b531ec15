"""Heat maps: which parts of a face spoke for an answer, by the gradients of the trained network."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ferops.training.ensemble import Ensemble
from ferops.training.model import ExpressionNet

Method = Literal["layer_cam", "grad_cam"]

CELLS = 12
"""Cells a side that a LayerCAM has at least: the deepest stage of the network that has them is looked at. With six, a
mouth and a chin are one cell, and the maps were no better than a spot in the middle of the face (docs/judging.md)."""

_BATCH = 32


def heat_maps(
    net: ExpressionNet, faces: NDArray[np.uint8], classes: NDArray[np.intp], *, method: Method = "layer_cam"
) -> NDArray[np.float32] | None:
    """Return what in each face spoke for its class: `(N, S, S)`, each map 0 to 1, all 0 where nothing did.

    Grad-CAM weights the channels of the network's last feature map by their mean gradient (Selvaraju et al. 2017,
    "Grad-CAM"). LayerCAM weights every position by its own gradient (Jiang et al. 2021, "LayerCAM"), so it can use an
    earlier and finer stage: a face of 64 px has two cells a side in the last one. An ensemble's map is the mean of its
    members'.

    Args:
        faces: `(N, S, S, 3)`.
        classes: `(N,)` the class of each face that is asked about.

    Returns:
        None for a network without a spatial feature map, such as a vision transformer.
    """
    members = members_of(net)
    found = np.zeros(faces.shape[:3], np.float32)
    for member in members:
        layer = _layer(member, faces.shape[1], method)
        if layer is None:
            return None
        for start in range(0, len(faces), _BATCH):
            batch = slice(start, start + _BATCH)
            found[batch] += _maps(member, faces[batch], classes[batch], layer=layer, method=method) / len(members)
    return found


def members_of(net: ExpressionNet) -> list[Any]:
    """Return the networks that an ensemble answers by; a network itself otherwise."""
    return [*net.backbone.members] if isinstance(net.backbone, Ensemble) else [net]


def _layer(net: Any, size_px: int, method: Method) -> str | None:
    """Return the stage to look at, by the name that timm gives it."""
    stages = [one for one in net.backbone.feature_info if "reduction" in one and "module" in one]
    reductions = [one["reduction"] for one in stages]
    if len(set(reductions)) < 2:  # a transformer's tokens, all of one size
        return None
    fine = [one for one in stages if size_px // one["reduction"] >= CELLS]
    return str((stages if method == "grad_cam" or not fine else fine)[-1]["module"])


def _maps(
    net: Any, faces: NDArray[np.uint8], classes: NDArray[np.intp], *, layer: str, method: Method
) -> NDArray[np.float32]:
    caught: list[Tensor] = []

    def catch(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        caught.append(output.detach().requires_grad_())  # no gradients before this stage are needed
        return caught[0]

    hook = net.backbone.get_submodule(layer).register_forward_hook(catch)
    try:
        logits = net(torch.from_numpy(faces))
    finally:
        hook.remove()
    asked = logits.gather(1, torch.from_numpy(classes).long()[:, None])
    (gradient,) = torch.autograd.grad(asked.sum(), caught[0])
    weights = gradient.mean(dim=(2, 3), keepdim=True) if method == "grad_cam" else gradient.relu()
    raw = (weights * caught[0].detach()).sum(dim=1, keepdim=True).relu()
    whole = F.interpolate(raw, size=faces.shape[1:3], mode="bilinear", align_corners=False)[:, 0]
    found: NDArray[np.float32] = (whole / whole.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)).numpy()
    return found
