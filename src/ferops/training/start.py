"""What a training starts from: a network with the weights that the settings ask for, fitted to its faces."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ferops.config import Model, Train
from ferops.errors import FeropsError
from ferops.model_config import Channels
from ferops.training import model, norms, pretrained, zoo
from ferops.training.faces import Faces, channel_statistics, is_grey
from ferops.training.model import ExpressionNet
from ferops.training.pretrained import Pretrained


def network(
    wanted: Model, *, classes: Sequence[str], size_px: int, seed: int, small_px: int = 0
) -> tuple[ExpressionNet, Pretrained | None]:
    """Return the network of `classes` for faces of `size_px`, and of `small_px` unless that is 0, and where its weights
    are from unless they are random.

    Raises:
        FeropsError: a network or weights that do not exist, or do not fit.
    """
    net = model.build(
        wanted.architecture,
        num_classes=len(classes),
        size_px=size_px,
        seed=seed,
        drop_rate=wanted.drop_rate,
        drop_path_rate=wanted.drop_path_rate,
    )
    zoo.require_size(net.backbone, wanted.architecture, size_px=size_px)
    if small_px:
        zoo.require_size(net.backbone, wanted.architecture, size_px=small_px, setting="train.small_px")
    if not wanted.pretrained:
        return net, None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the new head
        return net, pretrained.pretrain(net.backbone, wanted.architecture, wanted.pretrained, classes=classes)


def fit_to_faces(
    net: ExpressionNet, faces: Faces, start: Pretrained | None, *, train: Train, seed: int
) -> tuple[Channels, Channels]:
    """Give the network mean and standard deviation of its pretrained weights, or else of the faces; return them.

    Folded batch norms get the statistics of some faces.

    Raises:
        FeropsError: the faces have another size.
    """
    if faces.size_px != net.size_px:
        raise FeropsError(
            f"the packed faces have {faces.size_px} px, and preprocess.size_px is {net.size_px}. "
            "Make them again: dvc repro preprocess"
        )
    mean, std = (start.mean, start.std) if start else channel_statistics(faces)
    net.normalise(mean=mean, std=std)
    net.grayscale = train.grey_probability == 1.0 or is_grey(faces)
    if start and start.folded:
        norms.restate(net, faces.images, seed=seed)
    return mean, std
