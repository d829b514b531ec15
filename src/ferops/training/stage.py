"""The stage `train@NAME`: the packed faces -> one trained model, its logits, its history."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ferops.config import Params, Train
from ferops.errors import FeropsError
from ferops.files import atomic_folder, write_json
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.provenance import provenance
from ferops.training import data, distributed, model, precision, pretrained, report, zoo
from ferops.training.checkpoint import Checkpoint, fingerprint, weights_hash
from ferops.training.fit import Fit, OnEpoch, confusion, predict, scores
from ferops.training.memory import peak_memory_mb

SPLITS = ("train", "val", "test")
METRICS = ("val_macro_f1", "val_accuracy", "best_epoch")
"""What `dvc exp show` prints of a training: validation alone, so that a sweep cannot choose on the test split."""


def train(
    layout: Layout,
    params: Params,
    name: str,
    *,
    on_start: Callable[[NDArray[np.uint8]], None] | None = None,
    on_epoch: OnEpoch | None = None,
) -> dict[str, Any]:
    """Train the model `name` of the block `models` and write artifacts/train/<name> and reports/train/<name>.

    A run that was killed goes on from its last checkpoint when it is started again with the same settings and data; on
    a CPU it ends with the same weights, bit for bit, as an uninterrupted one. The epoch is chosen on the validation
    split by macro-F1; the test split is run through the chosen weights at the end, and not looked at.

    A process that torchrun started trains together with the others (docs/distributed.md); process 0 alone calls back
    and writes.

    Args:
        on_start: called once before the first step with a sheet of augmented training faces, uint8 `(H, W, 3)` RGB.
        on_epoch: called after each epoch with its number (from 1), its row of history.json, and the confusion counts on
            validation, int64 `(6, 6)`, labels as rows and predictions as columns.

    Returns:
        The summary, as in reports/train/<name>/summary.json; empty in the other processes of a distributed training.

    Raises:
        FeropsError: unknown name, missing, empty or too small input, hardware that cannot do what the settings ask for,
            a diverged run, a full disk, or SIGTERM (the state is saved first).
    """
    if name not in params.models:
        near = difflib.get_close_matches(name, params.models, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise FeropsError(f"there is no model {name!r} in params.yaml{hint} Known: {', '.join(params.models)}")
    started, world = time.perf_counter(), distributed.from_environment()
    _require_network(params, name)
    faces = {split: data.read(layout, split) for split in SPLITS}
    data.require_every_class(faces["train"], split="train")
    chosen = precision.choose(params.train)
    config, net = _new_model(layout, params, name, faces["train"])
    begun_with = weights_hash(net) if params.models[name].pretrained else None
    run = fingerprint(params, name, data.content_hash(*faces.values()), pretrained_hash=begun_with)
    sheet = report.augmented_sheet(faces["train"], params.train, seed=params.seed)
    with distributed.joined(world, chosen.device):
        fit = Fit(
            net,
            train=_settings(params, name),
            epochs=params.models[name].epochs,
            seed=params.seed,
            faces=faces["train"],
            validation=faces["val"],
            precision=chosen,
            checkpoint=Checkpoint(layout.state / "checkpoints" / name, run),
            world=world,
        )
        if on_start and world.main:
            on_start(sheet)
        fit.run(on_epoch if world.main else None)
    if not world.main:
        return {}
    # The logits that others compare with are FP32, whatever the training ran in
    plain = precision.Precision(chosen.device, None)
    logits = {split: predict(net, faces[split].images, precision=plain) for split in ("val", "test")}
    size_mb = sum(tensor.nbytes for tensor in net.state_dict().values()) / 1e6
    with _written(f"the model, {size_mb:,.1f} MB,", fit.checkpoint), atomic_folder(layout.model(name)) as folder:
        model.save(folder, net, config)
        write_json(folder / "history.json", fit.progress.history)
        for split, values in logits.items():
            np.save(folder / f"{split}_logits.npy", values)
    summary = {
        "stage": "train",
        "provenance": config.provenance,
        "model": name,
        "architecture": config.architecture,
        "parameters": config.parameters,
        "size_px": config.size_px,
        "images": {split: len(faces[split]) for split in SPLITS},
        "device": str(chosen.device),
        "precision": chosen.name,
        "epochs": params.models[name].epochs,
        "best_epoch": fit.progress.best_epoch,
        **scores(faces["val"].labels, logits["val"]),
        "images_per_s": float(np.median([row["images_per_s"] for row in fit.progress.history])),
        "seconds": time.perf_counter() - started,
        "peak_memory_mb": peak_memory_mb(chosen.device),
    }
    with _written("the report", fit.checkpoint), atomic_folder(layout.reports("train") / name) as folder:
        write_json(folder / "summary.json", summary)
        report.draw_curves(folder / "curves.png", fit.progress.history, best_epoch=fit.progress.best_epoch)
        Image.fromarray(sheet).save(folder / "augmented.png")
        report.draw_confusion(
            folder / "confusion.png",
            confusion(faces["val"].labels, logits["val"]),
            title=f"validation, best epoch ({fit.progress.best_epoch}): macro-F1 {summary['val_macro_f1']:.3f}",
        )
        write_json(folder / "metrics.json", {key: summary[key] for key in METRICS})
    fit.checkpoint.remove()
    return summary


def _require_network(params: Params, name: str) -> None:
    """Raise FeropsError for a network that cannot be built, or weights that are not there, before any data is read."""
    wanted = params.models[name]
    zoo.check(
        wanted.architecture,
        size_px=params.preprocess.size_px,
        drop_rate=wanted.drop_rate,
        drop_path_rate=wanted.drop_path_rate,
    )
    if wanted.pretrained:
        pretrained.require(wanted.architecture, wanted.pretrained)


@contextmanager
def _written(what: str, checkpoint: Checkpoint) -> Iterator[None]:
    """Say in an error that the training is not lost."""
    try:
        yield
    except FeropsError as error:
        raise FeropsError(f"{what} could not be written: {error}. {checkpoint.kept}") from error


def _settings(params: Params, name: str) -> Train:
    """Return the block `train` as it applies to the model: random features are not worth freezing or sparing."""
    if params.models[name].pretrained:
        return params.train
    return params.train.model_copy(update={"freeze_epochs": 0, "layer_decay": 1.0})


def _new_model(layout: Layout, params: Params, name: str, faces: data.Faces) -> tuple[ModelConfig, model.ExpressionNet]:
    wanted = params.models[name]
    mean, std = data.channel_statistics(faces)
    grey = data.is_grey(faces)
    net = model.build(
        wanted.architecture,
        size_px=faces.size_px,
        mean=mean,
        std=std,
        grayscale=grey,
        seed=params.seed,
        drop_rate=wanted.drop_rate,
        drop_path_rate=wanted.drop_path_rate,
    )
    start = None
    if wanted.pretrained:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(params.seed)  # of the new head
            start = pretrained.pretrain(net.backbone, wanted.architecture, wanted.pretrained)
        net.normalise(mean=start.mean, std=start.std)
        mean, std = start.mean, start.std
    made_from = provenance(layout, params)
    config = ModelConfig(
        architecture=wanted.architecture,
        classes=params.data.classes,
        size_px=faces.size_px,
        mean=mean,
        std=std,
        grayscale=grey,
        pretrained=start and {"source": start.source, "sha256": start.sha256, "licence": start.licence},
        parameters=model.count_parameters(net),
        provenance=made_from,
        licence=_licence(params, synthetic=made_from.synthetic, start=start),
    )
    return config, net


def _licence(params: Params, *, synthetic: bool, start: pretrained.Pretrained | None) -> str:
    """Weights carry the terms of the images they were learnt from; the rendered ones are the project's own."""
    own = "Apache-2.0" if synthetic else "the terms of the training data: " + ", ".join(params.data.sources)
    return f"{own}; pretrained weights: {start.licence}" if start else own
