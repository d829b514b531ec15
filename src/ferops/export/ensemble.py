"""`ferops ensemble`: trained models -> one model that answers the mean of their calibrated probabilities."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ferops.config import Params
from ferops.export.temperature import fit_temperature
from ferops.export.views import log_mean
from ferops.files import sha256
from ferops.layout import Layout
from ferops.model_config import Member, ModelConfig
from ferops.provenance import provenance
from ferops.records import Provenance
from ferops.records.train import TrainSummary
from ferops.training import data, model, untrained
from ferops.training.members import joined_terms, listed, read_logits, read_member, require_names
from ferops.training.model import ExpressionNet


def ensemble(layout: Layout, params: Params, name: str, members: Sequence[str]) -> TrainSummary:
    """Write artifacts/train/`name` and reports/train/`name` from artifacts/train of each of the `members`.

    The temperature of each is fitted on the validation split. All that takes a trained model takes the ensemble.

    Raises:
        FeropsError: a name that cannot be used, or members that are missing, damaged, or do not fit each other or the
            faces of the project.
    """
    started = time.perf_counter()
    require_names(params, name, members, kind="ensemble")
    made_from = provenance(layout, params)
    faces = {split: data.read_faces(layout, split) for split in ("train", "val", "test")}
    size_px = faces["val"].size_px
    loaded = [read_member(layout, one, params, made_from=made_from, size_px=size_px) for one in members]
    logits = {
        split: [read_logits(layout, one, split, faces[split], classes=params.data.classes) for one in members]
        for split in ("val", "test")
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


def _config(
    layout: Layout,
    names: Sequence[str],
    loaded: Sequence[tuple[ExpressionNet, ModelConfig]],
    temperatures: Sequence[float],
    made_from: Provenance,
) -> ModelConfig:
    configs = [config for _, config in loaded]
    own = {"architecture", "mean", "std", "grayscale", "pretrained", "teacher", "ingredients", "adjusted", "parameters"}
    members = tuple(
        Member(
            name=name,
            sha256=sha256(layout.model(name) / "weights.safetensors"),
            temperature=temperature,
            **config.model_dump(include=own),
        )
        for name, config, temperature in zip(names, configs, temperatures, strict=True)
    )
    return ModelConfig(
        architecture="ensemble of " + listed(config.architecture for config in configs),
        members=members,
        classes=configs[0].classes,
        size_px=configs[0].size_px,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        grayscale=False,
        parameters=sum(config.parameters for config in configs),
        provenance=made_from,
        licence=joined_terms(configs),
    )
