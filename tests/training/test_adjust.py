"""A model that expects frequent classes less: the bias of its last layer, its logits, its figures."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

from blobs import blobs, make_project, write_faces
from exports import change
from ferops.errors import FeropsError
from ferops.export.ensemble import ensemble
from ferops.layout import Layout
from ferops.model_config import ModelConfig, read_model_config
from ferops.records.train import TrainSummary
from ferops.training import data, model
from ferops.training.adjust import SHARES, adjust, table, tried
from ferops.training.evaluator import predict
from ferops.training.folds import answers
from ferops.training.precision import Precision
from ferops.training.soup import soup
from taught import write_taught

PLAIN = Precision(torch.device("cpu"), None)
START = {"source": "faces", "sha256": "a" * 64, "licence": "MIT"}
FACES = np.array([64, 4, 16, 16, 16, 16])
"""Of each class, in training."""


@pytest.fixture(scope="module")
def made(tmp_path_factory, params) -> Layout:
    """A project with many faces of anger and few of disgust, two models, one adjusted by 0.5 as `fair`, an ensemble."""
    layout = make_project(tmp_path_factory.mktemp("adjust"))
    images, labels = blobs(FACES.max(), seed=1)
    kept = np.concatenate([np.flatnonzero(labels == each)[:count] for each, count in enumerate(FACES)])
    write_faces(layout, {"train": (images[kept], labels[kept]), "val": blobs(25, seed=2), "test": blobs(5, seed=3)})
    write_taught(layout, "one", sharpness=1.5, pretrained=START)
    write_taught(layout, "two", noise=0.02, sharpness=1.5, pretrained=START)
    for name in ("one", "two"):
        trained_as(layout, name, class_weights="none", sampling={})
    adjust(layout, params, "fair", model="one", share=0.5)
    ensemble(layout, params, "both", ["fair", "two"])
    return layout


@pytest.fixture
def copy(made, tmp_path) -> Layout:
    shutil.copytree(made.root, tmp_path / "copy")
    return Layout(tmp_path / "copy")


def trained_as(layout: Layout, name: str, **train: object) -> None:
    found = read_model_config(layout.model(name), ModelConfig).provenance.params
    change(layout.model(name), provenance={"params": found | {"train": found["train"] | train}})


def logits(layout: Layout, name: str, split: str = "val") -> np.ndarray:
    return np.load(layout.model(name) / f"{split}_logits.npy")


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_logarithm_of_the_frequencies_is_taken_off(made, split):
    moved = logits(made, "fair", split) - logits(made, "one", split)
    assert_allclose(moved, np.broadcast_to(-0.5 * np.log(FACES / FACES.sum()), moved.shape), atol=1e-5)


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_weights_answer_so(made, split):
    net, found = model.load(made.model("fair"))
    found_logits = predict(net, data.read_faces(made, split).images, precision=PLAIN)
    assert_allclose(found_logits, logits(made, "fair", split), atol=1e-4)
    assert (found.adjusted.name, found.adjusted.share, found.adjusted_share) == ("one", 0.5, 0.5)
    assert found.pretrained == START


def test_frequencies_are_those_that_the_training_saw(copy, params):
    """Drawn with balance 1, or weighed by inverse frequency, all classes are alike, and nothing is left to adjust."""
    for settings in ({"sampling": {"others": {"weight": 1.0, "balance": 1.0}}}, {"class_weights": "inverse"}):
        trained_as(copy, "two", **{"class_weights": "none", "sampling": {}} | settings)
        adjust(copy, params, "alike", model="two", share=1.0)
        moved = logits(copy, "alike") - logits(copy, "two")
        assert_allclose(moved, np.full_like(moved, np.log(6)), atol=1e-5)


def test_trials_are_what_the_models_would_be(made, params):
    found = {one.share: one for one in tried(made, params, "one")}
    assert tuple(found) == SHARES
    labels = data.read_faces(made, "val").labels
    for share, name in ((0.0, "one"), (0.5, "fair")):
        right = logits(made, name).argmax(axis=1) == labels
        assert found[share].accuracy == pytest.approx(right.mean())
        assert found[share].recall == pytest.approx([right[labels == each].mean() for each in range(6)])
    summary = TrainSummary.read(made.reports("train") / "fair" / "summary.json", made_by="ferops adjust")
    assert summary.val_macro_f1 == pytest.approx(found[0.5].macro_f1)
    frequent, rare = ([one.recall[each] for one in found.values()] for each in (0, 1))
    assert (frequent, rare) == (sorted(frequent, reverse=True), sorted(rare))
    assert frequent[0] > frequent[-1]


def test_the_table_has_a_row_for_each_share(made, params):
    heads, *rows, last = table("one", tried(made, params, "one"), params.data.classes)[1:]
    assert heads.split() == ["share", "accuracy", "macro-F1", *params.data.classes]
    assert [row.split()[0] for row in rows] == [f"{share:g}" for share in SHARES]
    assert all(len(row) == len(heads) for row in rows)
    assert last == "next: ferops adjust one --share SHARE --name NAME"


def test_an_ensemble_knows_its_members_shares(made):
    assert read_model_config(made.model("both"), ModelConfig).adjusted_share == 0.25


@pytest.mark.parametrize(
    ("name", "of", "message"),
    [
        ("candidate", "one", "candidate is an entry of `models`"),
        ("../fair", "one", r"an adjusted model cannot be called '\.\./fair'"),
        ("more", "fair", "fair is one, adjusted by 0.5 already. Adjust that one anew: ferops adjust one"),
        ("more", "gone", r"train/gone/config\.json does not exist"),
        ("more", "both", "both is an ensemble itself. Name its members instead: fair, two"),
    ],
)
def test_what_cannot_be_adjusted(made, params, name, of, message):
    with pytest.raises(FeropsError, match=message):
        adjust(made, params, name, model=of, share=0.3)
    assert not made.model("more").exists()


def test_a_model_that_learnt_from_other_data_has_other_frequencies(copy, params):
    """Also one that is taken as it is: where the starter is judged on images of one's own, theirs say nothing of it."""
    change(copy.model("two"), provenance={"data_version": "e" * 32})
    taken = params.models["candidate"].model_copy(
        update={"epochs": 0, "pretrained": None, "learns_from": "artifacts/train/elsewhere"}
    )
    params = params.model_copy(update={"models": {**params.models, "two": taken}})
    with pytest.raises(FeropsError, match="two has another data version than the project"):
        adjust(copy, params, "more", model="two", share=0.3)


def test_the_answers_to_all_folds_are_adjusted_too(copy, params):
    """So that a model of few images still gets its cross-validation."""
    folds = params.model_copy(update={"train": params.train.model_copy(update={"every_fold": True})})
    before = answers(["a", "b"], np.arange(12, dtype=np.float32).reshape(2, 6), params.data.classes)
    with pytest.raises(FeropsError, match=r"every_fold\.parquet does not exist.*ferops train one"):
        adjust(copy, folds, "more", model="one", share=0.5)
    before.to_parquet(copy.every_fold("one"), index=False)
    adjust(copy, folds, "more", model="one", share=0.5)
    after = pd.read_parquet(copy.every_fold("more"))
    assert list(after["image_id"]) == ["a", "b"]
    moved = after.iloc[:, 1:] - before.iloc[:, 1:]
    assert_allclose(moved, np.broadcast_to(-0.5 * np.log(FACES / FACES.sum()), (2, 6)), atol=1e-5)


def test_a_class_without_a_training_face_has_no_frequency(copy, params):
    faces = data.read_faces(copy, "train")
    kept = faces.labels != 1
    others = {split: data.read_faces(copy, split) for split in ("val", "test")}
    splits = {split: (np.array(found.images), found.labels) for split, found in others.items()}
    write_faces(copy, {"train": (np.array(faces.images)[kept], faces.labels[kept]), **splits})
    with pytest.raises(FeropsError, match="no training face shows disgust"):
        tried(copy, params, "one")


def test_a_network_without_a_bias_stays_as_it_is(copy, params, monkeypatch):
    monkeypatch.setattr("ferops.training.zoo.heads", lambda _: [torch.nn.Linear(4, 6, bias=False)])
    with pytest.raises(FeropsError, match="the last layer of one, test_resnet, has no bias"):
        tried(copy, params, "one")


def test_a_soup_takes_models_that_are_not_adjusted(made, params):
    with pytest.raises(FeropsError, match="logits of one were adjusted: take one itself, and adjust the soup"):
        soup(made, params, "mean", ["fair", "two"])
