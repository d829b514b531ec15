from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ferops.records.train import TrainHeadline, TrainSummary, read_history
from ferops.training import data, model
from ferops.training.faces import channel_statistics
from ferops.training.prepare import prepare
from ferops.training.stage import run


def test_outputs(layout, make_params):
    seen, sheets = [], []
    params = make_params(epochs=3, checkpoint_every=10, max_lr=0.01)
    baseline = params.models["baseline"].model_copy(update={"architecture": "test_resnet"})
    params = params.model_copy(update={"models": {"baseline": baseline}})
    summary = run(prepare(layout, params, "baseline"), on_start=sheets.append, on_epoch=lambda *one: seen.append(one))

    folder = layout.model("baseline")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "history.json",
        "test_logits.npy",
        "val_logits.npy",
        "weights.safetensors",
    ]
    history = read_history(folder / "history.json", made_by="ferops train baseline")
    assert tuple(row for row, _ in seen) == history
    assert [row.epoch for row in history] == [1, 2, 3]
    labels = data.read_faces(layout, "val").labels
    for row, counts in seen:
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(labels, minlength=6))
        assert np.trace(counts) / len(labels) == pytest.approx(row.val_accuracy)
        assert 100 < row.peak_memory_mb <= summary.peak_memory_mb["process"]

    net, config = model.load(folder)
    assert (config.architecture, config.size_px, config.temperature) == ("test_resnet", 32, 1.0)
    assert (config.mean, config.std) == channel_statistics(data.read_faces(layout, "train"))
    assert config.provenance.seed == 7
    for split in ("val", "test"):
        faces = data.read_faces(layout, split)
        with torch.inference_mode():
            expected = net(torch.from_numpy(np.array(faces.images))).numpy()
        logits = np.load(folder / f"{split}_logits.npy")
        assert logits.dtype == np.float32
        assert np.allclose(logits, expected, atol=1e-4)
        assert (logits.argmax(axis=1) == faces.labels).mean() > 0.6  # chance is 0.17

    best = max(history, key=lambda row: (row.val_macro_f1, -row.val_loss))
    assert summary.best_epoch == best.epoch
    assert summary.val_macro_f1 == pytest.approx(best.val_macro_f1)
    assert summary.parameters == config.parameters == model.count_parameters(net)
    assert summary.images_per_s > 0
    assert not any("test" in key for key in summary.as_json())

    report = layout.reports("train") / "baseline"
    assert TrainSummary.read(report / "summary.json", made_by="ferops train baseline") == summary
    for name in ("curves.png", "augmented.png", "confusion.png"):
        with Image.open(report / name) as image:
            image.load()
            assert np.asarray(image).std() > 5
    with Image.open(report / "augmented.png") as image:  # what was shown before the first step
        assert len(sheets) == 1
        np.testing.assert_array_equal(np.asarray(image), sheets[0])
    # What a sweep chooses by: validation only
    headline = TrainHeadline.read(report / "metrics.json", made_by="ferops train baseline")
    assert headline == summary.headline
    assert not (layout.state / "checkpoints" / "baseline").exists()
