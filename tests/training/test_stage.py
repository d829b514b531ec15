from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.training import data, model
from ferops.training.stage import train


def test_outputs(layout, make_params):
    told, sheets = [], []
    params = make_params(epochs=3, checkpoint_every=10)
    summary = train(layout, params, "baseline", on_start=sheets.append, on_epoch=lambda *one: told.append(one))

    folder = layout.model("baseline")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "history.json",
        "test_logits.npy",
        "val_logits.npy",
        "weights.safetensors",
    ]
    history = json.loads((folder / "history.json").read_text())
    assert [(epoch, row) for epoch, row, _ in told] == [(row["epoch"], row) for row in history]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    labels = data.read(layout, "val").labels
    for _, row, counts in told:
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(labels, minlength=6))
        assert np.trace(counts) / len(labels) == pytest.approx(row["val_accuracy"])
        assert 100 < row["peak_memory_mb"] <= summary["peak_memory_mb"]["process"]

    net, config = model.load(folder)
    assert (config.architecture, config.size_px, config.temperature) == ("resnet18", 32, 1.0)
    assert (config.mean, config.std) == data.channel_statistics(data.read(layout, "train"))
    assert config.provenance.seed == 7
    for split in ("val", "test"):
        faces = data.read(layout, split)
        with torch.inference_mode():
            expected = net(torch.from_numpy(np.array(faces.images))).numpy()
        logits = np.load(folder / f"{split}_logits.npy")
        assert logits.dtype == np.float32
        assert np.allclose(logits, expected, atol=1e-4)
        assert (logits.argmax(axis=1) == faces.labels).mean() > 0.6  # chance is 0.17

    best = max(history, key=lambda row: (row["val_macro_f1"], -row["val_loss"]))
    assert summary["best_epoch"] == best["epoch"]
    assert summary["val_macro_f1"] == pytest.approx(best["val_macro_f1"])
    assert summary["parameters"] == 11_179_590
    assert summary["images_per_s"] > 0
    assert not any("test" in key for key in summary)

    report = layout.reports("train") / "baseline"
    assert json.loads((report / "summary.json").read_text()) == summary
    for name in ("curves.png", "augmented.png", "confusion.png"):
        with Image.open(report / name) as picture:
            picture.load()
            assert np.asarray(picture).std() > 5
    with Image.open(report / "augmented.png") as picture:  # what was shown before the first step
        assert len(sheets) == 1
        np.testing.assert_array_equal(np.asarray(picture), sheets[0])
    # What a sweep chooses by: validation only
    assert json.loads((report / "metrics.json").read_text()) == {
        key: summary[key] for key in ("val_macro_f1", "val_accuracy", "best_epoch")
    }
    assert not (layout.state / "checkpoints" / "baseline").exists()


def test_unknown_model_names_the_nearest(layout, make_params):
    with pytest.raises(FeropsError, match="did you mean baseline"):
        train(layout, make_params(), "basline")


def test_empty_validation_split(layout, make_params):
    from blobs import blobs, write_faces

    empty = (np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0, np.int64))
    write_faces(layout, {"train": blobs(8, seed=1), "val": empty, "test": blobs(2, seed=2)})
    with pytest.raises(FeropsError, match="the val split has no faces"):
        train(layout, make_params(), "baseline")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet81"}, "no backbone 'resnet81'.*resnet18"),
        ({"architecture": "test_vit"}, r"test_vit cannot take faces of 50 px: .*patch size \(16\)"),
        ({"architecture": "vgg11", "drop_path_rate": 0.1}, "vgg11 cannot be built .* with drop_path_rate 0.1"),
        ({"architecture": "test_resnet", "pretrained": "gone.pth"}, r"gone\.pth does not exist"),
        ({"architecture": "test_resnet", "pretrained": "package"}, "no pip package holds weights of test_resnet"),
    ],
)
def test_a_network_that_cannot_be_is_told_before_data_is_read(tmp_path, make_params, changes, message):
    """Nothing but params.yaml is there: had the faces been looked for, they would be what is missing."""
    params = make_params()
    params = params.model_copy(
        update={
            "preprocess": params.preprocess.model_copy(update={"size_px": 50}),
            "models": {"baseline": params.models["baseline"].model_copy(update=changes)},
        }
    )
    with pytest.raises(FeropsError, match=message):
        train(Layout(tmp_path), params, "baseline")
