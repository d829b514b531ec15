"""What a training starts from, and what makes it the same as another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blobs import blobs, write_faces
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.training import precision, zoo
from ferops.training.distributed import World
from ferops.training.prepare import prepare


def with_model(params, **changes):
    return params.model_copy(update={"models": {"baseline": params.models["baseline"].model_copy(update=changes)}})


@pytest.fixture
def params(make_params):
    return with_model(make_params(), architecture="test_resnet")


@pytest.mark.parametrize(
    ("block", "changes", "same"),
    [
        (None, {}, True),
        ("train", {"watch_every": 7, "checkpoint_every": 9}, True),  # how often it saves and shows itself
        ("train", {"max_lr": 0.1}, False),
        ("train", {"accumulate": "auto", "memory_gb": 0.013}, False),
        ("models", {"epochs": 3}, False),
        ("data", {"classes": ("sad", "disgust", "fear", "happy", "anger", "surprised")}, False),
    ],
)
def test_settings_make_a_training_the_same_or_another(layout, params, block, changes, same):
    other = params
    if block == "models":
        other = with_model(params, **changes)
    elif block:
        other = params.model_copy(update={block: getattr(params, block).model_copy(update=changes)})
    first, second = prepare(layout, params, "baseline"), prepare(layout, other, "baseline")
    assert (first.identity == second.identity) is same
    assert (first.fit.checkpoint.path == second.fit.checkpoint.path) is same


def test_data_and_weights_to_start_from_make_another_training(layout, params, tmp_path):
    digests = {prepare(layout, params, "baseline").identity.digest}
    for value in (0.0, 1.0):
        start = zoo.create("test_resnet", num_classes=6, size_px=32).state_dict()
        torch.save({name: tensor.fill_(value) for name, tensor in start.items()}, tmp_path / "start.pth")
        pretrained = with_model(params, pretrained=str(tmp_path / "start.pth"))
        digests.add(prepare(layout, pretrained, "baseline").identity.digest)
    write_faces(layout, {"train": blobs(16, seed=1), "val": blobs(5, seed=2), "test": blobs(5, seed=4)})
    digests.add(prepare(layout, params, "baseline").identity.digest)
    assert len(digests) == 4


def test_hardware_and_processes_make_another_training(layout, params, monkeypatch):
    """A checkpoint of another arithmetic would be gone on with to other weights, and MLflow's curve would mix two."""
    here = prepare(layout, params, "baseline").identity
    half = precision.Precision(torch.device("cpu"), torch.bfloat16)
    with monkeypatch.context() as patch:
        patch.setattr(precision, "choose", lambda _: half)
        assert prepare(layout, params, "baseline").identity == here.model_copy(update={"number_format": "bf16"})
    monkeypatch.setattr("ferops.training.prepare.from_environment", lambda: World(rank=0, size=2))
    assert prepare(layout, params, "baseline").identity == here.model_copy(update={"processes": 2})
    assert here.model_copy(update={"device": "cuda"}).digest != here.digest


@pytest.mark.parametrize("classes", [("happy", "sad"), tuple("abcdefgh")])
def test_any_number_of_classes(layout, make_params, classes):
    params = with_model(make_params(), architecture="test_resnet")
    params = params.model_copy(update={"data": params.data.model_copy(update={"classes": classes})})
    rng = np.random.default_rng(0)
    labels = np.arange(48) % len(classes)
    split = (rng.integers(0, 256, (48, 32, 32, 3), dtype=np.uint8), labels.astype(np.int64))
    write_faces(layout, dict.fromkeys(("train", "val", "test"), split))
    training = prepare(layout, params, "baseline")
    counts = []
    training.fit.run(lambda _, confusion: counts.append(confusion))
    assert training.config.classes == classes
    assert training.fit.state.net.backbone.fc.out_features == len(classes)
    assert counts[-1].shape == (len(classes), len(classes))


def test_faces_packed_for_other_classes_or_another_size(layout, params):
    fewer = params.model_copy(update={"data": params.data.model_copy(update={"classes": ("happy", "sad")})})
    with pytest.raises(FeropsError, match=r"packed for at least 6 classes, and data\.classes lists 2: happy, sad"):
        prepare(layout, fewer, "baseline")
    larger = params.model_copy(update={"preprocess": params.preprocess.model_copy(update={"size_px": 64})})
    with pytest.raises(FeropsError, match=r"faces have 32 px, and preprocess\.size_px is 64.*dvc repro preprocess"):
        prepare(layout, larger, "baseline")


def test_unknown_model_names_the_nearest(layout, params):
    with pytest.raises(FeropsError, match="did you mean baseline"):
        prepare(layout, params, "basline")


def test_empty_validation_split(layout, params):
    empty = (np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0, np.int64))
    write_faces(layout, {"train": blobs(8, seed=1), "val": empty, "test": blobs(2, seed=2)})
    with pytest.raises(FeropsError, match="the val split has no faces"):
        prepare(layout, params, "baseline")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet81"}, "no backbone 'resnet81'.*resnet18"),
        ({"architecture": "test_vit"}, r"test_vit cannot take faces of 50 px: .*patch size \(16\)"),
        ({"architecture": "vgg11", "drop_path_rate": 0.1}, "vgg11 cannot be built .* with drop_path_rate 0.1"),
        ({"architecture": "test_resnet", "pretrained": "gone.pth"}, r"gone\.pth does not exist"),
        ({"architecture": "test_resnet", "pretrained": "imagenet"}, "no weights of test_resnet come with ferops"),
    ],
)
def test_a_network_that_cannot_be_made_is_reported_before_faces_are_read(tmp_path, params, changes, message):
    """Only the settings exist: had the faces been looked for, they would be what is missing."""
    params = with_model(params, **changes)
    params = params.model_copy(update={"preprocess": params.preprocess.model_copy(update={"size_px": 50})})
    with pytest.raises(FeropsError, match=message):
        prepare(Layout(tmp_path), params, "baseline")
