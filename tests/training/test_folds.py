"""Cross-validation: every face is answered once, by a model that has not seen it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from blobs import blobs, write_faces
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.split.assign import SPLITS, assign
from ferops.training import folds, zoo
from ferops.training.fit import Fit
from ferops.training.prepare import Training, prepare
from ferops.training.stage import run
from ferops.training.untrained import take
from taken import THEIRS, write_starter

FOLDS = 3


@pytest.fixture
def params(make_params: Callable[..., Params]) -> Params:
    made = make_params(epochs=1)
    split = made.split.model_copy(update={"folds": FOLDS, "official_test": False, "test_fold": 1})
    baseline = made.models["baseline"].model_copy(update={"architecture": "test_resnet"})
    changed = {"split": split, "train": made.train.model_copy(update={"every_fold": True})}
    return made.model_copy(update={**changed, "models": {"baseline": baseline}})


@pytest.fixture
def folded(layout: Layout, params: Params) -> Layout:
    """The project with 120 faces of 40 people, as `split` and `preprocess` leave it with these folds."""
    images, labels = blobs(20, seed=1)
    rows = pd.DataFrame(
        {
            "image_id": [f"{index:03}" for index in range(len(labels))],
            "label": [DEFAULT_CLASSES[label] for label in labels],
            "label_index": labels,
            "source": "blobs",
            "usage": None,
            "subject": [f"p{index % 40:02}" for index in range(len(labels))],
            "cluster": [f"c{index}" for index in range(len(labels))],
            "connected": None,
        }
    )
    split = assign(rows, params.split, seed=params.seed)
    rows = rows.merge(split, on="image_id", validate="one_to_one")
    write_faces(layout, {name: (images[rows["split"] == name], labels[rows["split"] == name]) for name in SPLITS})
    rows["row"] = rows.groupby("split").cumcount()
    rows.sample(frac=1.0, random_state=1).to_parquet(layout.face_index)
    return layout


def by_number(layout: Layout) -> dict[bytes, str]:
    """Return the image_id of each face by its pixels."""
    index = pd.read_parquet(layout.face_index)
    arrays = {name: np.load(layout.faces(name)) for name in SPLITS}
    return {arrays[row.split][row.row].tobytes(): row.image_id for row in index.itertuples()}


def test_each_face_is_answered_once_by_a_model_that_has_not_seen_its_person(
    folded: Layout, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[Training] = []

    def spy(*arguments: Any, **how: Any) -> Training:
        trainings.append(prepare(*arguments, **how))
        return trainings[-1]

    monkeypatch.setattr(folds, "prepare", spy)
    own = prepare(folded, params, "baseline")
    run(own)
    images = by_number(folded)
    person = pd.read_parquet(folded.face_index).set_index("image_id")["subject"]
    tested: list[str] = []
    for training in (own, *trainings):
        inside = {name: [images[face.tobytes()] for face in training.faces[name].images] for name in SPLITS}
        assert set(person[inside["test"]]).isdisjoint(person[inside["train"] + inside["val"]])
        assert sum(len(each) for each in inside.values()) == len(images)
        assert training.identity.train == own.identity.train
        tested += inside["test"]
    assert sorted(tested) == sorted(images.values())
    found = pd.read_parquet(folded.every_fold("baseline"))
    assert list(found.columns) == ["image_id", *(f"logit_{name}" for name in DEFAULT_CLASSES)]
    assert sorted(found["image_id"]) == sorted(tested)
    logits = found.set_index("image_id").loc[folds.images_of(folded, "test")].to_numpy()
    np.testing.assert_array_equal(logits, np.load(folded.model("baseline") / "test_logits.npy"))
    assert not (folded.state / "folds").exists() or not list((folded.state / "folds").iterdir())


def test_what_the_model_starts_from_is_said_once(
    folded: Layout, params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = zoo.create("test_resnet", num_classes=3, size_px=32).state_dict()
    torch.save({"net": tensors}, tmp_path / "w.pth")
    baseline = params.models["baseline"].model_copy(update={"pretrained": str(tmp_path / "w.pth")})
    run(prepare(folded, params.model_copy(update={"models": {"baseline": baseline}}), "baseline"))
    said = capsys.readouterr().err
    assert said.count("all layers but the head are taken, from net; the head is new") == 1
    assert said.count("weights of") == 1


def test_a_complete_fold_is_not_trained_again(folded: Layout, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[Fit] = []
    trained = Fit.run

    def stops_at_the_second(fit: Fit, *arguments: Any) -> None:
        fits.append(fit)
        if len(fits) == 2:
            raise KeyboardInterrupt
        trained(fit, *arguments)

    monkeypatch.setattr(Fit, "run", stops_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        folds.other_folds(folded, params, "baseline")
    found = folds.other_folds(folded, params, "baseline")
    assert len(fits) == 2 + (FOLDS - 2)
    assert found["image_id"].is_unique


def test_a_class_that_one_person_shows_is_named(folded: Layout, params: Params) -> None:
    index = pd.read_parquet(folded.face_index)
    index.loc[index["label"] == "fear", "cluster"] = "one"
    index.loc[index["label"] == "fear", "subject"] = None
    index.to_parquet(folded.face_index)
    with pytest.raises(
        FeropsError, match=r"every_fold: without fold \d of 3 no face labelled fear is left to learn from"
    ):
        folds.other_folds(folded, params, "baseline")


def test_a_model_taken_as_it_is_answers_all_faces(folded: Layout, params: Params) -> None:
    write_starter(folded)
    wanted = {"architecture": "test_resnet", "pretrained": None, "learns_from": "starter", "epochs": 0}
    baseline = params.models["baseline"].model_copy(update=wanted)
    take(folded, params.model_copy(update={"models": {"baseline": baseline}}), "baseline")
    found = pd.read_parquet(folded.every_fold("baseline"))
    assert sorted(found["image_id"]) == sorted(by_number(folded).values())
    assert list(found.columns)[1:] == [f"logit_{name}" for name in THEIRS]
    test = found.set_index("image_id").loc[folds.images_of(folded, "test")].to_numpy()
    np.testing.assert_array_equal(test, np.load(folded.model("baseline") / "test_logits.npy"))
    assert not (folded.model("baseline") / "train_logits.npy").exists()
