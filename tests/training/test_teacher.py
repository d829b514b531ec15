"""Distillation: the pupil learns what its teacher answers to the very pixels that it is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fits import changed, cut_off, weights
from numpy.testing import assert_allclose
from scipy.special import log_softmax, softmax
from torch.nn import functional as F

from blobs import SIZE_PX
from exports import provenance
from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.model_config import ModelConfig
from ferops.training import data, model
from ferops.training.evaluator import predict
from ferops.training.losses import distillation_loss
from ferops.training.precision import Precision
from ferops.training.prepare import prepare
from ferops.training.teacher import Teacher

PLAIN = Precision(torch.device("cpu"), None)
MIXED = {"mixup_alpha": 0.2, "cutmix_alpha": 1.0, "erase_probability": 0.3}


def network(*, seed=3, size_px=SIZE_PX, grayscale=False, classes=6):
    net = model.build("test_resnet", num_classes=classes, size_px=size_px, grayscale=grayscale, seed=seed)
    with torch.no_grad():
        net.backbone.fc.weight *= 20  # answers that differ from face to face
    return net.eval()


def write_teacher(folder: Path, *, net=None, **changes) -> Path:
    net = net or network()
    known = {
        "architecture": "test_resnet",
        "classes": DEFAULT_CLASSES,
        "size_px": net.size_px,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "parameters": model.count_parameters(net),
        "provenance": provenance(),
        "licence": "CC-BY-4.0",
    }
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder, net, ModelConfig.model_validate(known | changes))
    return folder


@pytest.fixture
def params(make_params):
    """Settings whose baseline learns from the folder `teacher`."""
    known = make_params()
    pupil = known.models["baseline"].model_copy(update={"architecture": "test_resnet", "learns_from": "teacher"})
    return known.model_copy(update={"models": known.models | {"baseline": pupil}})


def test_the_loss_is_a_cross_entropy_that_keeps_its_gradients_at_any_temperature():
    rng = np.random.default_rng(0)
    logits, taught = rng.normal(size=(5, 6)), softmax(rng.normal(size=(5, 6)), axis=1)
    for temperature in (1.0, 3.0):
        expected = temperature**2 * -(taught * log_softmax(logits / temperature, axis=1)).sum(axis=1).mean()
        found = distillation_loss(torch.tensor(logits), torch.tensor(taught), temperature=temperature)
        assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("size_px", [32, 48, 64])
@pytest.mark.parametrize("grayscale", [False, True])
def test_a_teacher_sees_the_pixels_at_its_own_size_and_in_its_own_colours(size_px, grayscale):
    net = network(size_px=size_px, grayscale=grayscale)
    pixels = torch.rand(4, 3, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))
    seen = F.interpolate(pixels, (size_px, size_px), mode="bilinear", align_corners=False, antialias=True)
    if grayscale:
        seen = torch.einsum("nchw,c->nhw", seen, torch.tensor([0.299, 0.587, 0.114]))[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        expected = net.backbone((seen - 0.5) / 0.5) / (2.0 * 1.5)
    found = Teacher(net, share=1.0, temperature=2.0, calibration=1.5).probabilities(pixels, precision=PLAIN)
    assert_allclose(found, softmax(expected.numpy(), axis=1), atol=1e-5)


def test_what_a_step_minimises(make_fit):
    """Of the pixels after augmentation, Mixup and CutMix, of which the teacher gets the same."""
    teacher = Teacher(network(), share=0.7, temperature=2.0)
    fit = make_fit(teacher=teacher, label_smoothing=0.1, class_weights="none", focal_gamma=0.0, **MIXED)
    batches = []
    batch = fit.stepper.batch
    fit.stepper.batch = lambda *rows, **how: batches.append(batch(*rows, **how)) or batches[-1]
    fit.stepper.set_trainable(head_only=False)
    found = fit.stepper.run(np.arange(16), epoch=0, step=0)
    pixels, targets = batches[0]
    twin = make_fit()  # the same weights, in training as well: batch norms normalise by the batch
    twin.stepper.set_trainable(head_only=False)
    with torch.no_grad():
        logits = twin.state.net.classify(pixels).numpy()
        taught = softmax(teacher.net.classify(pixels).numpy() / 2.0, axis=1)
    own = -((0.9 * targets.numpy() + 0.1 / 6) * log_softmax(logits, axis=1)).sum(axis=1).mean()
    distilled = -4.0 * (taught * log_softmax(logits / 2.0, axis=1)).sum(axis=1).mean()
    assert_allclose(found, 0.3 * own + 0.7 * distilled, rtol=1e-5)


def test_the_share_decides_between_labels_and_teacher(make_fit):
    def trained(**settings):
        """After two steps: the first takes over what the norms of a new network zero out."""
        fit = make_fit(epochs=1, **MIXED, **settings)
        fit.stepper.set_trainable(head_only=False)
        for step in range(2):
            fit.stepper.run(np.arange(16), epoch=0, step=step)
        return weights(fit.state.net)

    wrong = np.eye(6, dtype=np.float32)[np.arange(96) % 6]
    teacher = network()
    before = weights(teacher)
    assert not changed(trained(), trained(teacher=Teacher(teacher, share=0.0)))
    alone = trained(teacher=Teacher(teacher, share=1.0))
    assert not changed(alone, trained(teacher=Teacher(teacher, share=1.0), targets=wrong))
    assert changed(alone, trained(teacher=Teacher(network(seed=4), share=1.0)))
    assert not changed(before, weights(teacher))
    assert not teacher.training


@pytest.mark.slow
def test_a_pupil_comes_to_answer_as_its_teacher(make_fit, layout):
    """Labels say nothing here: all that it knows it has from the teacher."""
    images = data.read_faces(layout, "val").images
    master = make_fit(epochs=4)
    master.run()
    answers = predict(master.state.net, images, precision=PLAIN).argmax(axis=1)
    flat = np.full((96, 6), 1 / 6, np.float32)
    pupil = make_fit(epochs=5, digest="b", targets=flat, teacher=Teacher(master.state.net, share=1.0))
    pupil.run()
    agreed = predict(pupil.state.net, images, precision=PLAIN).argmax(axis=1) == answers
    assert len(np.unique(answers)) == 6
    assert agreed.mean() > 0.8


def test_a_lesson_that_was_cut_off_resumes_to_the_same_bits(make_fit):
    settings = {"teacher": Teacher(network(), share=0.5), "accumulate": 2, "batch_size": 16, **MIXED}
    whole = make_fit(**settings)
    whole.run()
    whole.checkpoint.remove()
    cut_off(make_fit(**settings), epoch=1, step=1)
    again = make_fit(**settings)
    again.run()
    assert not changed(weights(whole.state.net), weights(again.state.net))


def test_bf16_is_close_to_fp32():
    pixels = torch.rand(8, 3, SIZE_PX, SIZE_PX, generator=torch.Generator().manual_seed(0))
    teacher = Teacher(network(), share=1.0)
    half = teacher.probabilities(pixels, precision=Precision(torch.device("cpu"), torch.bfloat16))
    assert half.dtype == torch.float32
    assert_allclose(half, teacher.probabilities(pixels, precision=PLAIN), atol=0.05)


def test_the_teacher_is_part_of_the_training_and_named_in_its_config(layout, params, capsys):
    write_teacher(layout.root / "teacher", temperature=1.7)
    first = prepare(layout, params, "baseline")
    assert first.fit.stepper.teacher.calibration == 1.7
    assert first.config.teacher["source"] == "teacher"
    assert len(first.config.teacher["sha256"]) == 64
    assert first.config.licence == "Apache-2.0; teacher: CC-BY-4.0"
    assert "trained on another split" in capsys.readouterr().err
    digests = {first.identity.digest, prepare(layout, params, "baseline").identity.digest}
    assert len(digests) == 1
    write_teacher(layout.root / "teacher", temperature=1.8)
    digests.add(prepare(layout, params, "baseline").identity.digest)
    write_teacher(layout.root / "teacher", net=network(seed=4))
    digests.add(prepare(layout, params, "baseline").identity.digest)
    without = params.models["baseline"].model_copy(update={"learns_from": "artifacts/preprocess/faces.parquet"})
    plain = prepare(layout, params.model_copy(update={"models": {"baseline": without}}), "baseline")
    assert (plain.fit.stepper.teacher, plain.config.teacher, plain.config.licence) == (None, None, "Apache-2.0")
    assert len(digests | {plain.identity.digest}) == 4


def test_teachers_that_cannot_teach(layout, params):
    folder = layout.root / "teacher"
    with pytest.raises(FeropsError, match=r"is teacher, which does not exist\. It takes artifacts/preprocess"):
        prepare(layout, params, "baseline")
    write_teacher(folder, net=network(classes=2), classes=("happy", "sad"))
    with pytest.raises(FeropsError, match=r"answers happy, sad, and the model is to answer anger, .*same order"):
        prepare(layout, params, "baseline")
    (folder / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(FeropsError, match=r"weights\.safetensors is damaged"):
        prepare(layout, params, "baseline")
    shutil.copytree(folder, layout.model("baseline"))
    own = params.models["baseline"].model_copy(update={"learns_from": "artifacts/train/baseline"})
    with pytest.raises(FeropsError, match="a model cannot teach itself"):
        prepare(layout, params.model_copy(update={"models": {"baseline": own}}), "baseline")
