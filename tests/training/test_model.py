from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exports import provenance
from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.model_config import ModelConfig, read_model_config
from ferops.training import model

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.fixture
def saved(tmp_path):
    net = model.build("resnet18", num_classes=6, size_px=32, mean=MEAN, std=STD, seed=3)
    for buffer in net.buffers():  # running statistics that are not the defaults
        if buffer.is_floating_point() and buffer.dim() == 1:
            buffer.add_(0.1)
    config = ModelConfig(
        architecture="resnet18",
        classes=DEFAULT_CLASSES,
        size_px=32,
        mean=MEAN,
        std=STD,
        parameters=model.count_parameters(net),
        provenance=provenance(),
        licence="Apache-2.0",
    )
    model.save(tmp_path, net, config)
    return tmp_path, net.eval(), config


@pytest.mark.parametrize(("architecture", "parameters"), [("resnet18", 11_176_512), ("resnet50", 23_508_032)])
@pytest.mark.parametrize("num_classes", [2, 8])
def test_build_has_an_output_for_each_class_and_the_published_size(architecture, parameters, num_classes):
    net = model.build(architecture, num_classes=num_classes, size_px=32)
    features = net.backbone.fc.in_features
    assert net.backbone.fc.out_features == num_classes
    assert model.count_parameters(net) == parameters + (features + 1) * num_classes


def test_build_is_seeded_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, again, other = (model.build("resnet18", num_classes=6, size_px=32, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.backbone.conv1.weight, again.backbone.conv1.weight)
    assert not torch.equal(first.backbone.conv1.weight, other.backbone.conv1.weight)


def test_residual_branches_start_at_zero():
    net = model.build("resnet50", num_classes=6, size_px=32)
    assert not net.backbone.layer3[2].bn3.weight.any()
    assert net.backbone.layer3[2].bn2.weight.all()


def test_normalisation_is_inside_and_in_rgb_order():
    net = model.build("resnet18", num_classes=6, size_px=32, mean=MEAN, std=STD).eval()
    faces = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    by_hand = ((faces / 255.0 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        assert torch.allclose(net(torch.from_numpy(faces)), net.backbone(torch.from_numpy(by_hand)), atol=1e-4)


def test_round_trip(saved):
    folder, net, config = saved
    loaded, read_config = model.load(folder)
    assert read_config == config
    assert not loaded.training
    faces = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(loaded(faces), net(faces))


def test_weights_of_another_architecture_name_the_layers(saved):
    folder, _, config = saved
    (folder / "config.json").write_text(json.dumps(config.model_dump(mode="json") | {"architecture": "resnet50"}))
    with pytest.raises(FeropsError, match=r"resnet50.*\n.*backbone\.layer1\.0\.conv3\.weight: missing"):
        model.load(folder)


def test_a_wrong_shape_names_the_layer(saved):
    folder, _, _ = saved
    tensors = load_file(folder / "weights.safetensors")
    save_file(tensors | {"backbone.fc.bias": torch.zeros(7)}, folder / "weights.safetensors")
    with pytest.raises(FeropsError, match=r"backbone\.fc\.bias: shape \(7,\), wanted \(6,\)"):
        model.load(folder)


def test_damaged_weights(saved):
    folder, _, _ = saved
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FeropsError, match="damaged"):
        model.load(folder)
    path.unlink()
    with pytest.raises(FeropsError, match="does not exist"):
        model.load(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "Invalid JSON"), ("{}", "architecture: Field required"), ("[]", "Input should be an object")],
)
def test_a_wrong_config(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FeropsError, match=message):
        read_model_config(tmp_path, ModelConfig)


def test_no_config(tmp_path):
    with pytest.raises(FeropsError, match="holds no model"):
        read_model_config(tmp_path / "nowhere", ModelConfig)


def test_a_network_that_learnt_from_grey_faces_sees_no_colour(saved):
    folder, _, config = saved
    grey = config.model_copy(update={"grayscale": True})
    model.save(folder, model.load(folder)[0], grey)
    net, read_back = model.load(folder)
    assert read_back.grayscale
    faces = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    luma = (faces.float() * torch.tensor([0.299, 0.587, 0.114])).sum(dim=3, keepdim=True).repeat(1, 1, 1, 3)
    pixels = luma.permute(0, 3, 1, 2) / 255.0
    with torch.no_grad():
        torch.testing.assert_close(net(faces), net.classify(pixels), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(net(faces), net.classify(net.pixels(faces)), atol=1e-3)
