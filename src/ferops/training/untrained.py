"""Models without a training here: what they leave for the stages after it, and those that are taken as they are."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import atomic_folder
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.plots import save_confusion_matrix
from ferops.provenance import provenance
from ferops.records import Provenance
from ferops.records.train import TrainSummary, write_history
from ferops.training import data, folds, model, zoo
from ferops.training.evaluator import confusion, predict, scores
from ferops.training.faces import Faces
from ferops.training.memory import peak_memory_mb
from ferops.training.model import ExpressionNet
from ferops.training.precision import Precision


def take(layout: Layout, params: Params, name: str) -> TrainSummary:
    """Write artifacts/train/`name` and reports/train/`name` of an entry of `models` with 0 epochs.

    It is the model in the folder `learns_from`, such as the starter: its weights, its classes, its provenance, and its
    answers to the faces of this project.

    Raises:
        FeropsError: there is no such model, or it lacks a class, or takes other faces than the project has.
    """
    started = time.perf_counter()
    wanted, classes = params.models[name], params.data.classes
    folder = layout.root / wanted.learns_from
    if not (folder / "weights.safetensors").is_file():
        raise FeropsError(
            f"models.{name} has 0 epochs, so it is the model in {folder}, which holds no weights.safetensors. Fetch it "
            "(dvc pull starter.dvc), name another folder in learns_from, or train one: epochs 1 or more"
        )
    net, found = model.load(folder)
    missing = [each for each in classes if each not in found.classes]
    if missing:
        raise FeropsError(
            f"models.{name} is {folder}, which answers {', '.join(found.classes)}: it has no {', '.join(missing)}, so "
            "it cannot be judged on these faces. Train another one: learns_from artifacts/preprocess/faces.parquet, "
            "epochs 1 or more"
        )
    faces = {split: data.read_faces(layout, split) for split in ("train", "val", "test")}
    if (zoo.resolve(wanted.architecture), faces["test"].size_px) != (zoo.resolve(found.architecture), found.size_px):
        raise FeropsError(
            f"models.{name} is {folder}, a {found.architecture} for faces of {found.size_px} px; params.yaml says "
            f"{wanted.architecture}, and the faces have {faces['test'].size_px} px. Set models.{name}.architecture and "
            "preprocess.size_px to the model's"
        )
    plain = Precision(torch.device("cpu"), None)
    judged = faces if params.train.every_fold else ("val", "test")
    logits = {split: predict(net, faces[split].images, precision=plain) for split in judged}
    # Without what an export adds
    config = ModelConfig.model_validate(found.model_dump(include=set(ModelConfig.model_fields)))
    return write(
        layout,
        name,
        net,
        config,
        faces=faces,
        logits={split: logits[split] for split in ("val", "test")},
        made_from=provenance(layout, params),
        started=started,
        about=f"{wanted.learns_from} as it is",
        classes=classes,
        every_fold=_every_fold(layout, logits, found.classes) if params.train.every_fold else None,
    )


def _every_fold(layout: Layout, logits: Mapping[str, NDArray[np.float32]], classes: tuple[str, ...]) -> pd.DataFrame:
    """It learnt from no fold, so its answers to all of them count."""
    return pd.concat(folds.answers(folds.images_of(layout, split), found, classes) for split, found in logits.items())


def write(
    layout: Layout,
    name: str,
    net: ExpressionNet,
    config: ModelConfig,
    *,
    faces: Mapping[str, Faces],
    logits: Mapping[str, NDArray[np.float32]],
    made_from: Provenance,
    started: float,
    about: str,
    classes: tuple[str, ...] | None = None,
    every_fold: pd.DataFrame | None = None,
) -> TrainSummary:
    """Write the folders of a model as a training does, with an empty history, and return the summary.

    Args:
        logits: `(N, K)` of the validation and the test split, in the order of `config.classes`.
        started: by time.perf_counter.
        about: what it is, for the title of a drawing.
        classes: those that the faces are labelled with, where the model answers others, too.
        every_fold: the answers to all faces, as `ferops.training.folds.answers` makes them.
    """
    classes = classes or config.classes
    labels = faces["val"].labels
    judged = logits["val"][:, [config.classes.index(each) for each in classes]]
    accuracy, macro_f1 = scores(labels, judged)
    with atomic_folder(layout.model(name)) as folder:
        model.save(folder, net, config)
        write_history(folder / "history.json", [])
        for split, values in logits.items():
            np.save(folder / f"{split}_logits.npy", values)
        if every_fold is not None:
            every_fold.to_parquet(folder / layout.every_fold(name).name, index=False)
    summary = TrainSummary(
        provenance=made_from,
        model=name,
        architecture=config.architecture,
        parameters=config.parameters,
        size_px=config.size_px,
        images={split: len(each) for split, each in faces.items()},
        device="cpu",
        precision="fp32",
        threads=(),
        epochs=0,
        best_epoch=0,
        val_accuracy=accuracy,
        val_macro_f1=macro_f1,
        images_per_s=0.0,
        seconds=time.perf_counter() - started,
        peak_memory_mb=peak_memory_mb(torch.device("cpu")),
    )
    with atomic_folder(layout.reports("train") / name) as folder:
        summary.write(folder / "summary.json")
        summary.headline.write(folder / "metrics.json")
        title = f"validation, {about}: macro-F1 {macro_f1:.3f}"
        save_confusion_matrix(folder / "confusion.png", confusion(labels, judged), classes, title=title)
    return summary
