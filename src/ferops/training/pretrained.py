"""Pretrained weights: those that come with ferops, timm's, a file's, or those of an earlier training."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import PretrainedCfg
from torch import Tensor, nn

from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.model_config import Channels, read_training_config
from ferops.training.faces import channels
from ferops.training.packaged import PACKAGED
from ferops.training.zoo import head_parameters, heads, mismatches, published, resolve, summarise

HUB_TIMEOUT_S = 10.0
"""How long the first answer of the Hugging Face hub may take."""


@dataclass(frozen=True)
class Pretrained:
    """Weights to start from: `source` as the settings name it (and where packaged ones are from), `sha256` of the file
    (None where it has none), their licence, and the normalisation that they were learnt with (per RGB channel, in units
    of 0-1). `folded`: the batch norms need the statistics of the faces (`norms.restate`)."""

    source: str
    sha256: str | None
    licence: str
    mean: Channels
    std: Channels
    folded: bool = False


def pretrain(backbone: nn.Module, architecture: str, source: str) -> Pretrained:
    """Load pretrained weights into all of `backbone` but its head, which starts small.

    timm draws a head's weights so large that, with few classes, the first steps spoil the features. So the new head is
    drawn with a standard deviation of 0.01. Weights of a transformer that were learnt at another image size are adapted
    as timm does it (its position embeddings are resampled).

    Args:
        source: a name of PACKAGED (`faces`, `imagenet`), `hub` (timm's weights of this backbone, downloaded once into
            the Hugging Face cache), or the path of a .safetensors, .pth or .pt file of weights, or of a folder that
            `ferops train` wrote or that ferops comes with (`starter`). Pixels are normalised as PACKAGED or the
            folder's config.json says, else as for timm's own weights of this backbone.

    Raises:
        FeropsError: no network, no such file, a damaged file, or weights that do not fit (which layers).
    """
    name = resolve(architecture)
    if source in PACKAGED or source == "package":
        start, tensors = _packaged(name, source)
    else:
        start, tensors = _fetched(name, source)
    _load(backbone, tensors, name=name, source=source)
    for layer in (layer for head in heads(backbone) for layer in head.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return start


def _fetched(name: str, source: str) -> tuple[Pretrained, dict[str, Tensor]]:
    """Read the weights of the hub, or of a path."""
    known = published(name)
    licence, mean, std = str(known.license or "unknown"), channels(known.mean), channels(known.std)
    if source == "hub":
        return Pretrained(source, None, licence, mean, std), _from_hub(name, known)
    path, licence = _local(source), "unknown (a local file)"
    if Path(source).is_dir():
        trained = read_training_config(Path(source))
        licence, mean, std = trained.licence, trained.mean, trained.std
    return Pretrained(source, sha256(path), licence, mean, std), _read(path)


def _from_hub(name: str, known: PretrainedCfg) -> dict[str, Tensor]:
    if not known.has_weights:
        raise FeropsError(
            f"timm has no pretrained weights of {name}. Give the path of a file, or train from scratch with "
            "pretrained: null"
        )
    try:
        _require_hub(known)
        return dict(timm.create_model(name, pretrained=True).state_dict())
    except Exception as error:  # the hub's client raises a dozen kinds
        packaged = "; or take weights that come with ferops: " + ", ".join(
            f"architecture: {one.architecture} with pretrained: {name}" for name, one in PACKAGED.items()
        )
        raise FeropsError(
            f"the pretrained weights of {name} could not be fetched ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}). Without a network: download "
            f"https://huggingface.co/{known.hf_hub_id or name} elsewhere (model.safetensors) and give its path as "
            f"pretrained{packaged}; or train from scratch with pretrained: null"
        ) from error


def _require_hub(known: PretrainedCfg) -> None:
    """Ask the hub once whether it has the weights, unless they are in the cache: a download would retry for a minute.

    Raises whatever its client raises if there is no answer.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    if not known.hf_hub_id:
        return
    names = [known.hf_hub_filename] if known.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
    if any(isinstance(huggingface_hub.try_to_load_from_cache(known.hf_hub_id, one), str) for one in names):
        return
    url = huggingface_hub.hf_hub_url(known.hf_hub_id, names[0])
    try:
        huggingface_hub.get_hf_file_metadata(url, timeout=HUB_TIMEOUT_S)
    except HfHubHTTPError as error:
        if error.response.status_code != 404:  # some weights are there under the other name
            raise


def _local(source: str) -> Path:
    """Return the file of weights at a path."""
    path = Path(source)
    if path.is_dir():
        path = path / "weights.safetensors"
    if not path.is_file():
        raise FeropsError(
            f"pretrained weights: {path} does not exist. pretrained takes {', '.join(PACKAGED)}, hub, the path of a "
            ".safetensors, .pth or .pt file or of a folder (starter, or one that ferops train wrote), or null"
        )
    return path


def _packaged(name: str, source: str) -> tuple[Pretrained, dict[str, Tensor]]:
    """Read the weights that come with ferops."""
    if source == "package":
        raise FeropsError("pretrained: package is now called imagenet; weights that were learnt on faces are faces")
    entry = PACKAGED[source]
    if entry.architecture != name:
        fits = [f"{one} (architecture: {entry.architecture})" for one, entry in PACKAGED.items()]
        raise FeropsError(
            f"no weights of {name} come with ferops; pretrained takes {' and '.join(fits)} without a network. "
            "For others give hub, or the path of a file of weights"
        )
    start = Pretrained(
        f"{source}: {entry.origin}", entry.sha256, entry.licence, entry.mean, entry.std, folded=entry.folded
    )
    return start, load_file(entry.path)


def _read(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; nothing is unpickled but tensors. Takes `state_dict` files as training loops save them."""
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeropsError(
            f"{path} is not a readable file of weights ({reason}). Supported: a .safetensors file, or a .pth or .pt "
            "file that holds tensors only (torch.save(model.state_dict(), ...))"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise FeropsError(f"{path} does not hold weights by layer name. Supported: torch.save(model.state_dict(), ...)")
    return {name.removeprefix("module.").removeprefix("backbone."): tensor for name, tensor in found.items()}


def _load(backbone: nn.Module, tensors: dict[str, Tensor], *, name: str, source: str) -> None:
    problems = _problems(backbone, tensors)
    if problems:
        tensors = _adapted(backbone, tensors)
    if problems and _problems(backbone, tensors):
        raise FeropsError(f"the weights of {source} do not fit {name}:\n{summarise(problems)}")
    head = head_parameters(backbone)
    backbone.load_state_dict({key: tensor for key, tensor in tensors.items() if key not in head}, strict=False)


def _problems(backbone: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    head = head_parameters(backbone)
    wanted = {key: t for key, t in backbone.state_dict().items() if key not in head}
    found = {key: tensors[key] for key in tensors if key not in head}
    return [line for line in mismatches(wanted=wanted, found=found) if "num_batches_tracked" not in line]


def _adapted(backbone: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the weights to this network's names and image size with the filter of timm's module, if it has one."""
    adapt = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    try:
        return dict(adapt(dict(tensors), backbone)) if adapt else tensors
    except (KeyError, RuntimeError, ValueError, AttributeError, IndexError):  # written for weights that nearly fit
        return tensors
