"""The backbones: any image classifier of timm's zoo by its name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, group_parameters, register_model
from torch import Tensor, nn

from ferops.errors import FeropsError
from ferops.training.face_resnet import FaceResNet

ALIASES = {
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "mobilenetv1": "tf_mobilenetv1_100",
    "mobilenetv3_large": "mobilenetv3_large_100",
    "mobilenetv3_small": "mobilenetv3_small_100",
}
"""Names that the field uses -> timm's."""

_OF_TIMM = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
"""What timm tells every network, and no layer of ours needs."""


@register_model
def tf_mobilenetv1_100(pretrained: bool = False, **options: Any) -> nn.Module:
    """MobileNet (Howard et al. 2017) as TensorFlow pads it and adds to variances: timm has the other networks so."""
    del pretrained  # its weights come with ferops
    network: nn.Module = timm.create_model("mobilenetv1_100", pad_type="same", bn_eps=1e-3, **options)
    return network


@register_model
def resnet18_small(pretrained: bool = False, **options: Any) -> nn.Module:
    """ResNet-18 (He et al. 2016) for faces of 48 px: its first layers keep the resolution, as those for CIFAR do.

    Squeeze-excitation (Hu et al. 2018) in each block, and 384 channels at the end: 7.9 million weights.
    """
    del pretrained  # there are none
    shape: dict[str, Any] = {"channels": (64, 128, 256, 384), "block_args": {"attn_layer": "se"}}
    network = timm.create_model("resnet18", **shape, **options)
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    return network


@register_model
def face_resnet29(pretrained: bool = False, **options: Any) -> nn.Module:
    """The network of dlib's face recognition, `FaceResNet`."""
    del pretrained  # its weights come with ferops
    return FaceResNet(**{name: value for name, value in options.items() if name not in _OF_TIMM})


def resolve(architecture: str) -> str:
    """Return timm's name of `architecture`, `name` or `name.tag`, where the tag says which of several sets of weights.

    Raises:
        FeropsError: the zoo has no such backbone (with the nearest names), or no such weights of it (with their tags).
    """
    name = ALIASES.get(architecture, architecture)
    backbone, _, tag = name.partition(".")
    if not timm.is_model(backbone):
        asked, names = architecture.lower().replace("-", "_"), sorted({*timm.list_models(), *ALIASES})
        longer = [alias for alias in ALIASES if asked and alias.startswith(asked)]  # mobilenetv3: large, or small
        near = list(dict.fromkeys([*longer, *difflib.get_close_matches(asked, names, n=3)]))[:3]
        raise FeropsError(
            f"there is no backbone {architecture!r} in timm {timm.__version__}"
            + (f"; the nearest are {', '.join(near)}. " if near else ". ")
            + "All names: python -c 'import timm; print(timm.list_models())'"
        )
    known = [full.partition(".")[2] for full in timm.list_pretrained(f"{backbone}.*")]
    if tag and tag not in known:
        raise FeropsError(
            f"timm {timm.__version__} has no weights {tag!r} of {backbone}; it has {', '.join(known) or 'none'}"
        )
    return name


def published(name: str) -> PretrainedCfg:
    """Return what timm states about the backbone's weights: address, licence, mean, std and input size."""
    return timm.get_pretrained_cfg(name) or PretrainedCfg()


def create(
    architecture: str, *, num_classes: int, size_px: int, drop_rate: float = 0.0, drop_path_rate: float = 0.0
) -> nn.Module:
    """Make the backbone with random weights from torch's global generator.

    Args:
        architecture: a name of timm's zoo, or one of ALIASES.
        num_classes: outputs of its head.
        size_px: side of the faces; transformers are built for exactly this side.
        drop_rate: dropout before the head. drop_path_rate: stochastic depth (Huang et al. 2016). 0 is off.

    Raises:
        FeropsError: no such backbone, or it cannot be built with these settings (the message is timm's).
    """
    name = resolve(architecture)
    options: dict[str, Any] = {"drop_rate": drop_rate or None, "drop_path_rate": drop_path_rate or None}
    if published(name).fixed_input_size:
        options["img_size"] = size_px
    try:
        return timm.create_model(name, pretrained=False, num_classes=num_classes, **options)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        asked = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)
        raise FeropsError(
            f"{name} cannot be built for faces of {size_px} px{f' with {asked}' if asked else ''}: {error}. "
            "Change preprocess.size_px or the model's settings in params.yaml"
        ) from error


def require_size(backbone: nn.Module, architecture: str, *, size_px: int, setting: str = "preprocess.size_px") -> None:
    """Raise FeropsError unless the backbone takes faces of `size_px`: two black ones are run through it.

    Weights and torch's random state stay as they were; the backbone is left in evaluation mode.
    """
    try:
        with torch.inference_mode():
            backbone.eval()(torch.zeros(2, 3, size_px, size_px))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise FeropsError(
            f"{architecture} cannot take faces of {size_px} px: {str(error).rstrip('.')}. Change {setting} in "
            "params.yaml (96, 128, 160 and 224 suit most networks), or choose another architecture"
        ) from error


def heads(backbone: nn.Module) -> list[nn.Module]:
    """Return the classifying layers: one, or two of a distilled network; none if the network does not name them."""
    if not hasattr(backbone, "get_classifier"):
        return []
    head: nn.Module | Iterable[nn.Module] = backbone.get_classifier()  # type: ignore[operator]
    return [head] if isinstance(head, nn.Module) else list(head)


def head_parameters(backbone: nn.Module) -> set[str]:
    """Return the names of the parameters of the classifying layers, as `backbone.named_parameters()` has them."""
    own = {id(parameter) for head in heads(backbone) for parameter in head.parameters()}
    return {name for name, parameter in backbone.named_parameters() if id(parameter) in own}


def first_layers(backbone: nn.Module, count: int) -> list[nn.Module]:
    """Return the modules with parameters of their own in the first `count` layers, as `train.layer_decay` counts them.

    Raises:
        FeropsError: the network has no more layers than these.
    """
    layers = group_parameters(backbone, backbone.group_matcher(coarse=False), reverse=True)  # type: ignore[operator]
    known = max(layers.values())  # the last is the head
    if count > known:
        raise FeropsError(
            f"train.freeze_layers {count} leaves no layer to train: the network has {known} before its head. Lower it"
        )
    chosen = {name.rpartition(".")[0] for name, layer in layers.items() if layer < count}
    return [module for name, module in backbone.named_modules() if name in chosen]


def mismatches(*, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """Return one line per layer that is missing, unknown or of another shape."""
    missing = [f"{name}: missing" for name in wanted if name not in found]
    surplus = [f"{name}: unknown layer" for name in found if name not in wanted]
    shapes = [
        f"{name}: shape {tuple(found[name].shape)}, wanted {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return [*missing, *surplus, *shapes]


def summarise(problems: list[str], *, at_most: int = 8) -> str:
    """Return the first problems, indented, one a line, and how many more there are."""
    lines = [f"  {problem}" for problem in problems[:at_most]]
    more = [f"  and {len(problems) - at_most} more"] if len(problems) > at_most else []
    return "\n".join([*lines, *more])
