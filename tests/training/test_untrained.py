"""A model with 0 epochs: the one in a folder, asked about the faces of the project."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blobs import SIZE_PX
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import ModelConfig, read_model_config
from ferops.records.train import TrainHeadline, TrainSummary, read_history
from ferops.training import data, model
from ferops.training.untrained import take
from taken import THEIRS, write_starter


@pytest.fixture
def params(make_params) -> Params:
    made = make_params()
    taken = {"architecture": "test_resnet", "pretrained": None, "learns_from": "starter", "epochs": 0}
    return made.model_copy(update={"models": {"baseline": made.models["baseline"].model_copy(update=taken)}})


def test_it_stays_as_it_is_and_answers_the_faces(layout: Layout, params: Params) -> None:
    write_starter(layout)
    summary = take(layout, params, "baseline")
    folder = layout.model("baseline")
    config = read_model_config(folder, ModelConfig)
    assert (config.classes, config.temperature, config.licence) == (THEIRS, 0.9, "its own")
    assert config.provenance.split_hash == "elsewhere"
    assert read_history(folder / "history.json", made_by="test") == ()
    net, _ = model.load(layout.root / "starter")
    faces = data.read_faces(layout, "test")
    with torch.inference_mode():
        expected = net(torch.from_numpy(np.array(faces.images))).numpy()
    np.testing.assert_allclose(np.load(folder / "test_logits.npy"), expected, atol=1e-4)
    named = [THEIRS.index(name) for name in params.data.classes]
    right = np.load(folder / "val_logits.npy")[:, named].argmax(axis=1) == data.read_faces(layout, "val").labels
    assert summary.val_accuracy == pytest.approx(right.mean())
    assert (summary.epochs, summary.best_epoch) == (0, 0)
    reports = layout.reports("train") / "baseline"
    assert TrainSummary.read(reports / "summary.json", made_by="test") == summary
    assert TrainHeadline.read(reports / "metrics.json", made_by="test") == summary.headline


def test_what_cannot_be_judged_on_these_faces(layout: Layout, params: Params) -> None:
    with pytest.raises(FeropsError, match=r"holds no weights\.safetensors\. Fetch it \(dvc pull starter\.dvc\)"):
        take(layout, params, "baseline")
    write_starter(layout, classes=("anger", "happy"))
    with pytest.raises(FeropsError, match=r"answers anger, happy: it has no disgust, fear, sad, surprised"):
        take(layout, params, "baseline")
    write_starter(layout, size_px=64)
    with pytest.raises(FeropsError, match=rf"for faces of 64 px; .* the faces have {SIZE_PX} px"):
        take(layout, params, "baseline")
    assert not layout.model("baseline").exists()
