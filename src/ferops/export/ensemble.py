"""`ferops ensemble`: trained models -> one model that answers the mean of their calibrated probabilities."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.export.temperature import fit_temperature
from ferops.export.views import log_mean
from ferops.files import sha256
from ferops.layout import Layout
from ferops.model_config import Member, ModelConfig
from ferops.provenance import provenance
from ferops.records import Provenance
from ferops.records.train import TrainSummary
from ferops.tables import read_array
from ferops.training import data, model, untrained
from ferops.training.faces import Faces
from ferops.training.model import ExpressionNet


def ensemble(layout: Layout, params: Params, name: str, members: Sequence[str]) -> TrainSummary:
    """Write artifacts/train/`name` and reports/train/`name` from artifacts/train of each of the `members`.

    The temperature of each is fitted on the validation split. All that takes a trained model takes the ensemble.

    Raises:
        FeropsError: a name that cannot be used, or members that are missing, damaged, or do not fit each other or the
            faces of the project.
    """
    started = time.perf_counter()
    _require_names(params, name, members)
    made_from = provenance(layout, params)
    faces = {split: data.read_faces(layout, split) for split in ("train", "val", "test")}
    loaded = [_load(layout, one, params=params, made_from=made_from, size_px=faces["val"].size_px) for one in members]
    logits = {
        split: [_logits(layout, one, split, params, faces[split]) for one in members] for split in ("val", "test")
    }
    labels, sources = faces["val"].labels, data.read_sources(layout, "val")
    temperatures = [fit_temperature(one, labels, sources) for one in logits["val"]]
    # What `ferops.training.ensemble.Ensemble` computes
    mean = {
        split: log_mean(one / t for one, t in zip(found, temperatures, strict=True)) for split, found in logits.items()
    }
    config = _config(layout, members, loaded, temperatures, made_from)
    return untrained.write(
        layout,
        name,
        model.combine([net for net, _ in loaded], temperatures),
        config,
        faces=faces,
        logits=mean,
        made_from=made_from,
        started=started,
        about=f"{len(members)} members",
    )


def _require_names(params: Params, name: str, members: Sequence[str]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise FeropsError(f"an ensemble cannot be called {name!r}: a name has letters, digits, dots, - and _")
    if name in params.models:
        raise FeropsError(f"{name} is an entry of `models` in params.yaml, made by ferops train: choose another name")
    if len(set(members)) < 2 or len(set(members)) < len(members) or name in members:
        raise FeropsError(
            f"an ensemble needs two different models or more, found {', '.join(members)}. Train them (ferops train "
            "NAME), then: ferops ensemble NAME MEMBER MEMBER"
        )


def _load(
    layout: Layout, member: str, *, params: Params, made_from: Provenance, size_px: int
) -> tuple[ExpressionNet, ModelConfig]:
    """Return a member that fits the project's faces. Its validation faces must be those of the ensemble: faces that a
    member was trained on would flatter its temperature, and the ensemble."""
    net, config = model.load(layout.model(member))
    if config.members:
        raise FeropsError(
            f"{member} is an ensemble itself. Name its members instead: {_listed(one.name for one in config.members)}"
        )
    pairs = {
        "classes": (_listed(config.classes), _listed(params.data.classes)),
        "size (px)": (str(config.size_px), str(size_px)),
        "data version": (config.provenance.data_version, made_from.data_version),
        "split": (str(config.provenance.split_hash), str(made_from.split_hash)),
    }
    for what, (found, wanted) in pairs.items():
        if found != wanted:
            raise FeropsError(
                f"{member} was trained with another {what}: {found}; the project has {wanted}. Train it again "
                f"(ferops train {member}), or leave it out"
            )
    return net, config


def _logits(layout: Layout, member: str, split: str, params: Params, faces: Faces) -> NDArray[np.float32]:
    path, wanted = layout.model(member) / f"{split}_logits.npy", (len(faces), len(params.data.classes))
    logits: NDArray[np.float32] = read_array(path, made_by=f"ferops train {member}")
    if logits.shape != wanted or not np.isfinite(logits).all():
        raise FeropsError(
            f"{path} has logits of shape {logits.shape}, all finite: {np.isfinite(logits).all()}; the {split} split "
            f"needs {wanted}, all finite. Train it again: ferops train {member}"
        )
    return logits


def _config(
    layout: Layout,
    names: Sequence[str],
    loaded: Sequence[tuple[ExpressionNet, ModelConfig]],
    temperatures: Sequence[float],
    made_from: Provenance,
) -> ModelConfig:
    configs = [config for _, config in loaded]
    own = {"architecture", "mean", "std", "grayscale", "pretrained", "teacher", "parameters"}
    members = tuple(
        Member(
            name=name,
            sha256=sha256(layout.model(name) / "weights.safetensors"),
            temperature=temperature,
            **config.model_dump(include=own),
        )
        for name, config, temperature in zip(names, configs, temperatures, strict=True)
    )
    terms = (term for config in configs for term in config.licence.split("; "))
    return ModelConfig(
        architecture="ensemble of " + _listed(config.architecture for config in configs),
        members=members,
        classes=configs[0].classes,
        size_px=configs[0].size_px,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        grayscale=False,
        parameters=sum(config.parameters for config in configs),
        provenance=made_from,
        licence="; ".join(dict.fromkeys(terms)),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
