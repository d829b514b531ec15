"""Memory: how many micro-batches keep an optimiser step within a budget, and how much memory was used."""

from __future__ import annotations

import resource

import torch
from torch import Tensor, nn

from ferops.config import Train
from ferops.errors import FeropsError
from ferops.training.model import ExpressionNet
from ferops.training.precision import Precision


def micro_batches(net: ExpressionNet, train: Train, precision: Precision) -> int:
    """Return `accumulate`, or for `auto` the fewest equal micro-batches of `batch_size` that fit `memory_gb`.

    What counts: weights, gradients, optimiser state, running average and best weights, and the tensors that autograd
    saves for the backward pass, as measured on a few faces. A fifth is left for what comes and goes.

    Raises:
        FeropsError: not even the smallest one fits, or `batch_size` is 1 and the network normalises over batches.
    """
    least = 2 if any(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in net.modules()) else 1
    if train.batch_size < least:
        raise FeropsError(
            "train.batch_size is 1, and this network has batch normalisation, which needs two faces at least, and 16 "
            "to do well. Raise it, or choose an architecture without, such as a transformer"
        )
    if train.accumulate != "auto":
        return train.accumulate
    budget = train.memory_gb * 1e9
    per_image, copies = saved_bytes(net, precision)
    fixed = copies + 6 * sum(parameter.numel() * parameter.element_size() for parameter in net.parameters())
    for count in range(1, train.batch_size // least + 1):
        if train.batch_size % count == 0 and 1.25 * (fixed + train.batch_size // count * per_image) <= budget:
            return count
    raise FeropsError(
        f"train.memory_gb is {train.memory_gb:g}, and this network needs "
        f"{1.25 * (fixed + least * per_image) / 1e9:.1f} GB for the smallest micro-batch. Raise it, lower "
        "preprocess.size_px, or choose a smaller architecture"
    )


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """Return the largest memory so far in MB (10^6 bytes): `process`, its resident set, then `gpu`, tensors, if any."""
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}  # Linux counts in KiB
    if device.type == "cuda":
        peak["gpu"] = torch.cuda.max_memory_allocated(device) / 1e6
    return peak


def saved_bytes(net: ExpressionNet, precision: Precision) -> tuple[float, float]:
    """Return what autograd saves for the backward pass: bytes per image, and bytes for any number of images.

    The latter are autocast's copies of the weights. The network and torch's random state are left as they were.
    """
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}  # the norms would note the faces
    training = net.training
    net.train()
    devices = [precision.device] if precision.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):  # dropout draws
        two, four = (_saved(net, precision, images=images) for images in (2, 4))
    net.load_state_dict(state)
    net.train(training)
    per_image = (four - two) / 2
    return per_image, two - 2 * per_image


def _saved(net: ExpressionNet, precision: Precision, *, images: int) -> int:
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    saved: dict[int, Tensor] = {}  # holding the tensors, since a freed one's address could come again

    def note(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    faces = torch.zeros(images, 3, net.size_px, net.size_px, device=precision.device)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), precision.training():
        net.classify(faces.contiguous(memory_format=torch.channels_last))
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())
