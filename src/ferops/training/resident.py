"""All faces in a GPU's memory: a step then takes its own from there, and no disk or bus is waited for."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ROOM = 0.5
"""Share of the GPU's free memory that faces may take; the rest is for the network and its steps."""

_CHUNK = 4096


def resident(images: NDArray[np.uint8], device: torch.device) -> Tensor | None:
    """Return uint8 images `(N, S, S, C)` on a GPU that has room for them; else, and on a CPU, None."""
    if device.type != "cuda" or images.nbytes > ROOM * torch.cuda.mem_get_info(device)[0]:
        return None
    return copied(images, device)


def copied(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Copy the images, memory-mapped or not, to the device, some at a time."""
    whole = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), _CHUNK):
        whole[start : start + _CHUNK] = torch.from_numpy(np.array(images[start : start + _CHUNK]))
    return whole
