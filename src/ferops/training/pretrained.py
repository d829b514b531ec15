"""Pretrained weights: those that come with ferops, timm's, a file's, or those of an earlier training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from timm.models import PretrainedCfg
from torch import Tensor, nn

from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.model_config import Channels, read_training_config
from ferops.training.faces import channels
from ferops.training.packaged import PACKAGED
from ferops.training.weight_files import Found, few, read_weights
from ferops.training.zoo import head_parameters, heads, mismatches, published, resolve, summarise

HUB_TIMEOUT_S = 10.0
"""How long the first answer of the Hugging Face hub may take."""


@dataclass(frozen=True)
class Pretrained:
    """Weights to start from: `source` as the settings name it (and where packaged ones are from), `sha256` of the file
    (None where it has none), their licence, and the normalisation that they were learnt with (per RGB channel, in units
    of 0-1). `folded`: the batch norms need the statistics of the faces (`norms.restate`). `said`: what was taken from a
    file or folder of the user's, and what was left."""

    source: str
    sha256: str | None
    licence: str
    mean: Channels
    std: Channels
    folded: bool = False
    said: str = ""


def pretrain(backbone: nn.Module, architecture: str, source: str, *, classes: Sequence[str] = ()) -> Pretrained:
    """Load pretrained weights into all of `backbone` but its head, which starts small.

    timm draws a head's weights so large that, with few classes, the first steps spoil the features. So the new head is
    drawn with a standard deviation of 0.01; where `source` is a model of expressions, the classes that both have keep
    its rows. Weights of a transformer that were learnt at another image size are adapted
    as timm does it (its position embeddings are resampled).

    Args:
        source: a name of PACKAGED (`faces`, `imagenet`), `hub` (timm's weights of this backbone, downloaded once into
            the Hugging Face cache), or the path of a .safetensors, .pth or .pt file of weights, or of a folder that
            `ferops train` wrote or that ferops comes with (`starter`). Pixels are normalised as PACKAGED or the
            folder's config.json says, else as for timm's own weights of this backbone.
        classes: the K that `backbone` answers, in order; without them the whole head is new.

    Raises:
        FeropsError: no network, no such file, a damaged file, or weights that do not fit (which layers).
    """
    name = resolve(architecture)
    if source in PACKAGED or source == "package":
        start, found = _packaged(name, source)
    else:
        start, found = _fetched(name, source, backbone)
    left = _load(backbone, found, name=name, source=source)
    for layer in (layer for head in heads(backbone) for layer in head.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if source in {*PACKAGED, "hub"}:
        return start
    shared: list[str] = []
    if classes and Path(source).is_dir():
        theirs = read_training_config(Path(source)).classes
        shared = _keep_rows(backbone, found.tensors, theirs=theirs, ours=classes)
    return replace(start, said=_said(source, found, shared=shared, left=left))


@torch.no_grad()
def _keep_rows(
    backbone: nn.Module, tensors: dict[str, Tensor], *, theirs: Sequence[str], ours: Sequence[str]
) -> list[str]:
    """Copy the head's weights of the classes in both `theirs`, the rows of `tensors`, and `ours`; return these."""
    shared = [name for name in ours if name in theirs]
    own = dict(backbone.named_parameters())
    keys = [
        key
        for key in head_parameters(backbone) & tensors.keys()
        if own[key].shape[1:] == tensors[key].shape[1:] and len(tensors[key]) == len(theirs)
    ]
    for key in keys:
        for name in shared:
            own[key][ours.index(name)] = tensors[key][theirs.index(name)]
    return shared if keys else []


def _said(source: str, found: Found, *, shared: Sequence[str], left: list[str]) -> str:
    """Say in words what was taken: all layers but the head, and of that the rows of the classes `shared`."""
    head = f"of the head the rows of the classes {', '.join(shared)}" if shared else "the head is new"
    prefix = "" if Path(source).is_dir() else found.prefix  # a folder's is always the same
    return (
        f"weights of {source}: all layers but the head are taken"
        + (f", from {found.place}" if found.place else "")
        + (f", where their names begin with {prefix}" if prefix else "")
        + f"; {head}"
        + (f"; not used: {few(left)}" if left else "")
    )


def _fetched(name: str, source: str, backbone: nn.Module) -> tuple[Pretrained, Found]:
    """Read the weights of the hub, or of a path."""
    known = published(name)
    licence, mean, std = str(known.license or "unknown"), channels(known.mean), channels(known.std)
    if source == "hub":
        return Pretrained(source, None, licence, mean, std), Found(_from_hub(name, known))
    path, licence = _local(source), "unknown (a local file)"
    if Path(source).is_dir():
        trained = read_training_config(Path(source))
        licence, mean, std = trained.licence, trained.mean, trained.std
    return Pretrained(source, sha256(path), licence, mean, std), read_weights(path, wanted=backbone.state_dict())


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


def _packaged(name: str, source: str) -> tuple[Pretrained, Found]:
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
    return start, Found(load_file(entry.path))


def _load(backbone: nn.Module, found: Found, *, name: str, source: str) -> list[str]:
    """Put the weights into all of the network but its head; return the names of what was not for it."""
    tensors, head = found.tensors, head_parameters(backbone)
    problems = _problems(backbone, tensors)
    if problems:
        tensors = _adapted(backbone, tensors)
    if problems and _problems(backbone, tensors):
        wanted = [key for key in backbone.state_dict() if key not in head]
        raise FeropsError(
            f"the weights of {source} do not fit {name}:\n{summarise(problems)}\n"
            f"found: {few(list(found.tensors))}\nwanted: {few(wanted)}\n"
            f"Set architecture to the network that they are of, by timm's name, or take weights of {name}"
        )
    taken = {key: tensor for key, tensor in tensors.items() if key in backbone.state_dict() and key not in head}
    backbone.load_state_dict(taken, strict=False)
    return [*(key for key in tensors if key not in taken and key not in head), *found.outside]


def _problems(backbone: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    head = head_parameters(backbone)
    wanted = {key: t for key, t in backbone.state_dict().items() if key not in head}
    # Another head, or a part that is not of the network, is left; more layers in one of its parts are another network's
    parts = {part for part, _ in backbone.named_children()} - {key.partition(".")[0] for key in head}
    found = {key: t for key, t in tensors.items() if key in wanted or key.partition(".")[0] in parts}
    return [line for line in mismatches(wanted=wanted, found=found) if "num_batches_tracked" not in line]


def _adapted(backbone: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the weights to this network's names and image size with the filter of timm's module, if it has one."""
    adapt = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    try:
        return dict(adapt(dict(tensors), backbone)) if adapt else tensors
    except (KeyError, RuntimeError, ValueError, AttributeError, IndexError):  # written for weights that nearly fit
        return tensors
