"""Trained models that are to become one: an ensemble of their answers, or a soup of their weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.records import Provenance
from ferops.tables import read_array
from ferops.training import model, zoo
from ferops.training.faces import Faces
from ferops.training.model import ExpressionNet


def require_name(params: Params, name: str, what: str) -> None:
    """Refuse a name that is no folder or that `ferops train` writes to.

    Args:
        what: is to have the name, with its article.

    Raises:
        FeropsError: it cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise FeropsError(f"{what} cannot be called {name!r}: a name has letters, digits, dots, - and _")
    if name in params.models:
        raise FeropsError(f"{name} is an entry of `models` in params.yaml, made by ferops train: choose another name")


def require_names(params: Params, name: str, members: Sequence[str], *, kind: str) -> None:
    """Refuse a name as `require_name` does, and fewer than two different members.

    Args:
        kind: `ensemble` or `soup`, the verb that makes it.

    Raises:
        FeropsError: they cannot be used.
    """
    article = "an" if kind == "ensemble" else "a"
    require_name(params, name, f"{article} {kind}")
    if len(set(members)) < 2 or len(set(members)) < len(members) or name in members:
        raise FeropsError(
            f"{article} {kind} needs two different models or more, found {', '.join(members)}. Train them (ferops "
            f"train NAME), then: ferops {kind} NAME MEMBER MEMBER"
        )


def read_member(
    layout: Layout,
    name: str,
    params: Params,
    *,
    made_from: Provenance,
    size_px: int,
    cut: bool = False,
    elsewhere: bool = True,
) -> tuple[ExpressionNet, ModelConfig]:
    """Return a trained model that fits the project's faces.

    Its validation faces must be the project's: faces that it was trained on would flatter it. A model that is taken as
    it is (0 epochs) has learnt from none of them.

    Args:
        cut: of a model that is taken as it is, classes that the project lacks are cut off.
        elsewhere: a model that is taken as it is may have learnt from other data than the project's.

    Raises:
        FeropsError: it is missing or damaged, an ensemble, or does not fit.
    """
    net, config = model.load(layout.model(name))
    if config.members:
        raise FeropsError(
            f"{name} is an ensemble itself. Name its members instead: {listed(one.name for one in config.members)}"
        )
    as_it_is = name in params.models and params.models[name].epochs == 0
    if cut and as_it_is and set(config.classes) > set(params.data.classes):
        config = _cut(net, config, params.data.classes)
    pairs = {
        "other classes": (listed(config.classes), listed(params.data.classes)),
        "another size in pixels": (str(config.size_px), str(size_px)),
    }
    if not (as_it_is and elsewhere):
        pairs |= {
            "another data version": (config.provenance.data_version, made_from.data_version),
            "another split": (str(config.provenance.split_hash), str(made_from.split_hash)),
        }
    for what, (found, wanted) in pairs.items():
        if found != wanted:
            raise FeropsError(
                f"{name} has {what} than the project: {found} instead of {wanted}. Train it again (ferops train "
                f"{name}), or take another model"
            )
    return net, config


def _cut(net: ExpressionNet, config: ModelConfig, classes: tuple[str, ...]) -> ModelConfig:
    """Leave the rows of `classes`, in that order, in the last layer; return the config of what is left."""
    rows = [config.classes.index(each) for each in classes]
    for head in zoo.heads(net.backbone):
        for part, values in list(head.named_parameters()):
            setattr(head, part, nn.Parameter(values[rows].detach()))
    return config.model_copy(update={"classes": classes, "parameters": model.count_parameters(net)})


def read_logits(layout: Layout, name: str, split: str, faces: Faces, *, classes: Sequence[str]) -> NDArray[np.float32]:
    """Return the logits `(N, K)` that a trained model left for the `faces` of a split.

    Raises:
        FeropsError: they are missing, not finite, or of other faces.
    """
    path, wanted = layout.model(name) / f"{split}_logits.npy", (len(faces), len(classes))
    logits: NDArray[np.float32] = read_array(path, made_by=f"ferops train {name}")
    if logits.shape != wanted or not np.isfinite(logits).all():
        raise FeropsError(
            f"{path} has logits of shape {logits.shape}, all finite: {np.isfinite(logits).all()}; the {split} split "
            f"needs {wanted}, all finite. Train it again: ferops train {name}"
        )
    return logits


def joined_terms(configs: Iterable[ModelConfig]) -> str:
    """Return the licence terms of all, each once."""
    return "; ".join(dict.fromkeys(term for config in configs for term in config.licence.split("; ")))


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)
