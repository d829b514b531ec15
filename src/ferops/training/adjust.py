"""`ferops adjust`: a trained model -> the same model, expecting frequent classes less, or more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.layout import Layout
from ferops.model_config import Adjustment, ModelConfig
from ferops.provenance import provenance
from ferops.records import Provenance
from ferops.records.train import TrainSummary
from ferops.tables import Kind, read_parquet
from ferops.training import data, folds, members, untrained, zoo
from ferops.training.evaluator import confusion, scores
from ferops.training.faces import Faces, learnt_shares
from ferops.training.model import ExpressionNet

SHARES = (-0.4, -0.2, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
"""What `ferops adjust` tries on the validation split."""


@dataclass(frozen=True)
class Trial:
    """What a share gives on the validation split.

    Attributes:
        faces: how many there are.
        recall: of each class, 0-1, in the order of the model's classes; NaN where the split has none of it.
    """

    share: float
    faces: int
    accuracy: float
    macro_f1: float
    recall: tuple[float, ...]


@dataclass(frozen=True)
class _Trained:
    net: ExpressionNet
    config: ModelConfig
    faces: dict[str, Faces]
    logits: dict[str, NDArray[np.float32]]
    frequencies: NDArray[np.float64]
    made_from: Provenance


def tried(layout: Layout, params: Params, model: str, shares: Sequence[float] = SHARES) -> list[Trial]:
    """Return the figures of artifacts/train/`model` on the validation split, its logits adjusted by each share.

    Raises:
        FeropsError: as `adjust`.
    """
    trained = _read(layout, params, model)
    labels, logits = trained.faces["val"].labels, trained.logits["val"]
    return [_trial(labels, logits - _offsets(trained, share), share) for share in shares]


def table(model: str, trials: Sequence[Trial], classes: Sequence[str]) -> list[str]:
    """Return lines for a terminal: figures in per cent by share, recall by class at the end."""
    heads = ["share", "accuracy", "macro-F1", *classes]
    widths = [max(len(each), 5) + 2 for each in heads]
    lines = [f"{model}, adjusted by a share, on {trials[0].faces:,} validation faces: all in %, recall by class"]
    lines.append("".join(each.rjust(width) for each, width in zip(heads, widths, strict=True)))
    for one in trials:
        figures = [f"{one.share:g}", *(f"{100 * each:.1f}" for each in (one.accuracy, one.macro_f1, *one.recall))]
        lines.append("".join(each.rjust(width) for each, width in zip(figures, widths, strict=True)))
    return [*lines, f"next: ferops adjust {model} --share SHARE --name NAME"]


def adjust(layout: Layout, params: Params, name: str, *, model: str, share: float) -> TrainSummary:
    """Write artifacts/train/`name` and reports/train/`name` of artifacts/train/`model`, its logits adjusted.

    "Long-tail learning via logit adjustment": Menon et al. 2021, eq. 9 (post-hoc). From the logit of each class, so
    from the bias of the last layer, `share` times the logarithm of its frequency is taken off: the frequencies that the
    model assumes (`ferops.training.faces.learnt_shares`). At 1 it answers as if all classes were equally frequent.
    Below 0 it expects frequent ones more, such as after class weights that favoured the rare ones too much.

    Raises:
        FeropsError: a name that cannot be used; or a model that is missing, damaged, adjusted already or an ensemble,
            whose last layer has no bias, or that was trained on other data than the project's.
    """
    started = time.perf_counter()
    members.require_name(params, name, "an adjusted model")
    trained = _read(layout, params, model)
    offsets = _offsets(trained, share)
    with torch.no_grad():
        for head in zoo.heads(trained.net.backbone):
            head.bias.sub_(torch.from_numpy(offsets))  # type: ignore[operator]
    done = Adjustment(name=model, sha256=sha256(layout.model(model) / "weights.safetensors"), share=share)
    return untrained.write(
        layout,
        name,
        trained.net,
        trained.config.model_copy(update={"adjusted": done}),
        faces=trained.faces,
        logits={split: logits - offsets for split, logits in trained.logits.items()},
        made_from=trained.made_from,
        started=started,
        about=f"{model}, adjusted by {share:g}",
        every_fold=_every_fold(layout, model, trained, offsets) if params.train.every_fold else None,
    )


def _every_fold(layout: Layout, model: str, trained: _Trained, offsets: NDArray[np.float32]) -> pd.DataFrame | None:
    """Return the answers to all folds, adjusted like the model's; None for a soup, which has none."""
    if trained.config.ingredients:
        return None
    columns = [f"logit_{each}" for each in trained.config.classes]
    kinds: dict[str, Kind] = {"image_id": "text", **dict.fromkeys(columns, "number or null")}
    found = read_parquet(layout.every_fold(model), kinds, made_by=f"ferops train {model}", unique="image_id")
    adjusted = found[columns].to_numpy(np.float32) - offsets
    return folds.answers(list(found["image_id"]), adjusted, trained.config.classes)


def _read(layout: Layout, params: Params, name: str) -> _Trained:
    classes, made_from = params.data.classes, provenance(layout, params)
    faces = {split: data.read_faces(layout, split) for split in ("train", "val", "test")}
    net, config = members.read_member(
        layout, name, params, made_from=made_from, size_px=faces["val"].size_px, elsewhere=False
    )
    if config.adjusted:
        raise FeropsError(
            f"{name} is {config.adjusted.name}, adjusted by {config.adjusted.share:g} already. Adjust that one anew: "
            f"ferops adjust {config.adjusted.name}"
        )
    heads = zoo.heads(net.backbone)
    if not heads or any(getattr(head, "bias", None) is None for head in heads):
        raise FeropsError(f"the last layer of {name}, {config.architecture}, has no bias to adjust its logits by")
    labels, sources = faces["train"].labels, data.read_sources(layout, "train")
    if missing := [each for index, each in enumerate(classes) if index not in labels]:
        raise FeropsError(f"no training face shows {members.listed(missing)}, so its frequency is unknown")
    logits = {
        split: members.read_logits(layout, name, split, faces[split], classes=classes) for split in ("val", "test")
    }
    frequencies = learnt_shares(labels, sources, len(classes), config.provenance.params["train"])
    return _Trained(net, config, faces, logits, frequencies, made_from)


def _offsets(trained: _Trained, share: float) -> NDArray[np.float32]:
    """Return what is taken off the logits, float32 `(K,)`."""
    return (share * np.log(trained.frequencies)).astype(np.float32)


def _trial(labels: NDArray[np.int64], logits: NDArray[np.float32], share: float) -> Trial:
    counts = confusion(labels, logits)
    accuracy, macro_f1 = scores(labels, logits)
    with np.errstate(invalid="ignore"):
        recall = counts.diagonal() / counts.sum(axis=1)
    return Trial(share, len(labels), accuracy, macro_f1, tuple(map(float, recall)))
