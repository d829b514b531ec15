from __future__ import annotations

import argparse
import hashlib
import http.server
import os
import threading
import time
from collections import defaultdict
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from exports import provenance
from ferops.classes import DEFAULT_CLASSES
from ferops.errors import FeropsError
from ferops.model_config import ModelConfig
from ferops.training import model, packaged, pretrained, zoo
from ferops.training.packaged import PACKAGED
from ferops.training.prepare import prepare
from ferops.training.pretrained import pretrain

NET = "test_resnet"


@pytest.fixture
def weights():
    """Weights of 1000 classes that no seed of a test draws, running statistics and counters too."""
    import timm

    torch.manual_seed(99)
    tensors = timm.create_model(NET).state_dict()
    return {
        name: tensor + 1 if name.endswith("num_batches_tracked") else tensor + 0.01 for name, tensor in tensors.items()
    }


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return zoo.create(NET, num_classes=6, size_px=32)


def holds(backbone, weights):
    """Whether all but the head is exactly `weights`."""
    head = zoo.head_parameters(backbone)
    return all(torch.equal(tensor, weights[name]) for name, tensor in backbone.state_dict().items() if name not in head)


def without_counters(tensors):
    return {name: tensor for name, tensor in tensors.items() if "num_batches_tracked" not in name}


@pytest.mark.parametrize(
    ("source", "architecture", "licence"),
    [
        ("imagenet", "efficientnet_lite0", "Apache-2.0"),
        ("faces", "mobilenetv1", "MIT"),
        ("faces-dlib", "face_resnet29", "CC0-1.0"),
    ],
)
def test_the_packaged_weights_arrive_and_are_those_of_the_notice(source, architecture, licence):
    entry = PACKAGED[source]
    tensors = load_file(entry.path)
    backbone = zoo.create(architecture, num_classes=6, size_px=32)
    start = pretrain(backbone, architecture, source)
    assert holds(backbone, tensors | {name: torch.tensor(0) for name in backbone.state_dict() if "num_b" in name})
    assert not set(tensors) & zoo.head_parameters(backbone)
    assert start.source == f"{source}: {entry.origin}"
    assert start.sha256 == entry.sha256 == hashlib.sha256(entry.path.read_bytes()).hexdigest()
    assert licence in start.licence
    assert (start.mean, start.std) == (entry.mean, entry.std)
    notice = (packaged.WEIGHTS / "NOTICE").read_text()
    assert f"{entry.file}\nSHA-256: {entry.sha256}" in notice
    assert {"Permission is hereby granted", "Apache License 2.0"} <= {
        text for text in ("Permission is hereby granted", "Apache License 2.0") if text in notice
    }


def test_every_file_of_weights_is_in_the_registry():
    files = {path.name for path in packaged.WEIGHTS.iterdir()} - {"NOTICE"}
    assert files == {entry.file for entry in PACKAGED.values()}


@pytest.mark.parametrize(
    ("source", "architecture", "size_px"),
    [("imagenet", "efficientnet_lite0", 64), ("faces", "mobilenetv1", 64), ("faces-dlib", "face_resnet29", 150)],
)
def test_packaged_networks_still_know_what_they_learnt(source, architecture, size_px):
    """The order of the layers is right only if activations stay in the range that the norms were learnt with."""
    backbone = zoo.create(architecture, num_classes=6, size_px=size_px).eval()
    pretrain(backbone, architecture, source)
    pixels = torch.randn(4, 3, size_px, size_px, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone.forward_features(pixels)
    assert features.shape[1] == backbone.num_features
    assert features.min() >= 0.0
    assert features.max() <= 6.0  # ReLU6
    assert 0.02 < features.mean() < 1.0


def test_packaged_weights_that_were_changed_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(packaged, "WEIGHTS", tmp_path)
    (tmp_path / PACKAGED["faces"].file).write_bytes(b"other")
    for source in ("faces", "imagenet"):  # changed, missing
        with pytest.raises(FeropsError, match=r"is missing or was changed\. Install ferops again"):
            _ = PACKAGED[source].path


def test_folded_norms_get_the_statistics_of_the_faces(layout, make_params):
    """The network that training starts with computes what the weights do, and its norms see what they expect."""
    params = make_params()
    start = params.models["baseline"].model_copy(update={"architecture": "mobilenetv1", "pretrained": "faces"})
    training = prepare(layout, params.model_copy(update={"models": {"baseline": start}}), "baseline")
    assert training.config.pretrained is not None
    assert training.config.pretrained["source"].startswith("faces: ")
    net = training.fit.state.net
    raw = zoo.create("mobilenetv1", num_classes=6, size_px=32).eval()
    raw.load_state_dict(load_file(PACKAGED["faces"].path), strict=False)
    pixels = (net.pixels(torch.from_numpy(np.array(training.faces["train"].images))) - net.mean) / net.std
    with torch.inference_mode():
        wanted, found = (backbone.forward_features(pixels) for backbone in (raw, net.backbone))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        net.train()
        trained = net.backbone.forward_features(pixels)
    assert (trained - wanted).abs().mean() < 0.02 * wanted.abs().mean()
    assert net.backbone.blocks[-1][-1].bn2.running_mean.abs().max() > 0.1


def test_the_new_head_is_small_and_drawn_from_the_generator(backbone, weights, tmp_path):
    save_file(weights, tmp_path / "w.safetensors")
    torch.manual_seed(5)
    expected = torch.empty(6, backbone.get_classifier().in_features).normal_(std=0.01)
    torch.manual_seed(5)
    pretrain(backbone, NET, str(tmp_path / "w.safetensors"))
    torch.testing.assert_close(backbone.get_classifier().weight.detach(), expected)
    assert not backbone.get_classifier().bias.any()


def in_a_training_loop(tensors):
    """A compiled network within another one, settings, numbers of numpy, an optimiser, and an average of weights."""
    return {
        "model_state_dict": {f"encoder.backbone.{name}": torch.zeros_like(t) for name, t in tensors.items()},
        "ema": {f"encoder._orig_mod.backbone.{name}": t for name, t in tensors.items()}
        | {"loss.centre": torch.ones(2)},
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": np.float64(0.1)}]},
        "args": argparse.Namespace(lr=np.float32(0.1), out=Path("runs")),
        "best": {"confusion": np.eye(2), "per_class": defaultdict(list, happy=[0.5])},
    }


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("w.safetensors", None),
        ("w.pth", lambda tensors: tensors),
        ("w.pt", lambda tensors: {"state_dict": tensors, "epoch": 3}),
        ("w.pth", lambda tensors: {"model": tensors}),
        ("w.pth", lambda tensors: {"state_dict": {f"module.{name}": t for name, t in tensors.items()}}),
        ("w.pth", without_counters),
        ("w.t7", lambda tensors: {"net": {f"module.{name}": t for name, t in tensors.items()}, "acc": np.float64(0.7)}),
        ("w.pt", in_a_training_loop),
    ],
    ids=["safetensors", "state_dict", "in state_dict", "in model", "parallel", "no counters", "in net", "a loop's"],
)
def test_a_local_file(backbone, weights, tmp_path, name, wrap):
    path = tmp_path / name
    if wrap:
        torch.save(wrap(weights), path, _use_new_zipfile_serialization=name != "w.t7")  # as before PyTorch 1.6
    else:
        save_file(weights, path)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    start = pretrain(backbone, NET, str(path))
    # What a file lacks (old ones have no counters) stays as it was
    assert holds(backbone, before | without_counters(weights) if wrap is without_counters else weights)
    assert start.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert start.licence == "unknown (a local file)"


class Elsewhere(nn.Module):
    """Of a program that whoever takes the weights does not have."""

    def __init__(self, backbone):
        super().__init__()
        self.net = backbone
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(7))

    def __setstate__(self, state):
        raise AssertionError("run")


def test_a_whole_module_is_read_and_none_of_its_code_is_run(backbone, weights, tmp_path):
    """As some known expression models are published: `torch.save(model)`."""
    net = zoo.create(NET, num_classes=1000, size_px=32)
    net.load_state_dict(weights)
    torch.save(Elsewhere(net), tmp_path / "w.pth")
    said = pretrain(backbone, NET, str(tmp_path / "w.pth")).said
    assert holds(backbone, weights)
    assert said == (
        f"weights of {tmp_path / 'w.pth'}: all layers but the head are taken, where their names begin with net.; "
        "the head is new; not used: criterion.weight"
    )


def test_a_deeper_network_is_not_taken_for_this_one(backbone, weights, tmp_path):
    """Its layers have all the names that are wanted, and more; a part of another name is no layer of the network."""
    save_file(weights | {"projection.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    said = pretrain(backbone, NET, str(tmp_path / "w.safetensors")).said
    assert said.endswith("the head is new; not used: projection.weight")
    save_file(weights | {"layer1.7.conv1.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(FeropsError, match=r"layer1\.7\.conv1\.weight: unknown layer\nfound: .*\nwanted: conv1"):
        pretrain(backbone, NET, str(tmp_path / "w.safetensors"))


def trained_folder(folder: Path, *, classes=DEFAULT_CLASSES):
    net = model.build(NET, num_classes=len(classes), size_px=32, seed=4)
    config = ModelConfig(
        architecture=NET,
        classes=classes,
        size_px=32,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        parameters=model.count_parameters(net),
        provenance=provenance(),
        licence="terms of the folder's data",
    )
    folder.mkdir()
    model.save(folder, net, config)
    return net


@pytest.mark.parametrize("classes", [DEFAULT_CLASSES, (*DEFAULT_CLASSES, "neutral")], ids=["six classes", "seven"])
def test_a_folder_that_was_trained_brings_its_normalisation_and_licence(backbone, tmp_path, classes):
    """The number of classes is the head's, and the head is new."""
    net = trained_folder(tmp_path / "run", classes=classes)
    start = pretrain(backbone, NET, str(tmp_path / "run"))
    assert holds(backbone, net.backbone.state_dict())
    assert (start.mean, start.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert start.licence == "terms of the folder's data"
    assert backbone.fc.out_features == 6


def test_classes_that_both_have_keep_their_part_of_the_head(backbone, tmp_path):
    """And those of one's own start small, whatever stands at their place in the other head."""
    net = trained_folder(tmp_path / "run", classes=("happy", "neutral", "sad"))
    ours = ("sad", "pain", "happy", "bored", "engaged", "anger")
    said = pretrain(backbone, NET, str(tmp_path / "run"), classes=ours).said
    assert said == (
        f"weights of {tmp_path / 'run'}: all layers but the head are taken; "
        "of the head the rows of the classes sad, happy"
    )
    theirs, found = net.backbone.fc, backbone.fc
    for row, origin in ((0, 2), (2, 0)):
        assert torch.equal(found.weight[row], theirs.weight[origin])
        assert found.bias[row] == theirs.bias[origin]
    new = found.weight[[1, 3, 4, 5]]
    assert 0.005 < float(new.detach().std()) < 0.02
    assert not found.bias[[1, 3, 4, 5]].any()


def test_a_model_of_seven_classes_can_be_loaded_as_it_is(tmp_path):
    net = trained_folder(tmp_path / "run", classes=(*DEFAULT_CLASSES, "neutral"))
    loaded, config = model.load(tmp_path / "run")
    assert config.classes == (*DEFAULT_CLASSES, "neutral")
    assert torch.equal(loaded.backbone.fc.weight, net.backbone.fc.weight)


def test_weights_of_another_network_name_the_layers(backbone, tmp_path):
    other = zoo.create("test_efficientnet", num_classes=6, size_px=32).state_dict()
    torch.save(other, tmp_path / "other.pth")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(FeropsError, match=r"other\.pth do not fit test_resnet:\n  \S+: missing\n(.*\n)*  and \d+ more"):
        pretrain(backbone, NET, str(tmp_path / "other.pth"))
    with pytest.raises(FeropsError, match=r"Set architecture to the network .* or take weights of test_resnet$"):
        pretrain(backbone, NET, str(tmp_path / "other.pth"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_a_wrong_shape_is_named(backbone, weights, tmp_path):
    name = next(name for name in weights if name.startswith("layer2") and name.endswith("conv1.weight"))
    save_file(weights | {name: torch.zeros(3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(FeropsError) as caught:
        pretrain(backbone, NET, str(tmp_path / "w.safetensors"))
    assert f"{name}: shape (3, 3), wanted {tuple(weights[name].shape)}" in str(caught.value)
    assert "found: " in str(caught.value)


def test_a_transformer_of_another_image_size_is_adapted(tmp_path):
    torch.manual_seed(1)
    large = zoo.create("test_vit", num_classes=6, size_px=160).state_dict()
    torch.save(large, tmp_path / "w.pth")
    small = zoo.create("test_vit", num_classes=6, size_px=80)
    pretrain(small, "test_vit", str(tmp_path / "w.pth"))
    state = small.state_dict()
    assert torch.equal(state["blocks.0.attn.qkv.weight"], large["blocks.0.attn.qkv.weight"])
    assert large["pos_embed"].shape[1] - state["pos_embed"].shape[1] == 100 - 25
    # The class token's embedding has no place; those of the patches keep their mean where they are resampled
    assert torch.equal(state["pos_embed"][:, 0], large["pos_embed"][:, 0])
    torch.testing.assert_close(
        state["pos_embed"][:, 1:].mean(1), large["pos_embed"][:, 1:].mean(1), atol=2e-3, rtol=0.0
    )


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("extra", [{}, {"state_dict": {}}])
def test_a_pickled_object_is_refused_and_not_run(backbone, tmp_path, extra):
    torch.save({"weights": Bomb(tmp_path / "boom"), **extra}, tmp_path / "w.pth")
    with pytest.raises(FeropsError, match="is not a readable file of weights") as caught:
        pretrain(backbone, NET, str(tmp_path / "w.pth"))
    assert "mkdir: code, which is not run." in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch advises to set it, and so to run what is in the file
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("w.safetensors", b"not a safetensors file"), ("w.pth", b"not a pickle"), ("w.pth", b""), ("w.safetensors", b"")],
)
def test_a_damaged_file(backbone, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FeropsError, match=rf"{name} is not a readable file of weights \(.+\)"):
        pretrain(backbone, NET, str(tmp_path / name))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull` fetches the file itself"),
        (b"\x89HDF\r\n", "it is an HDF5 file"),
        (b"\x08\x07", "it is neither an archive nor a pickle"),
    ],
)
def test_a_file_of_another_kind_is_named(backbone, tmp_path, content, what):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(FeropsError, match=what):
        pretrain(backbone, NET, str(tmp_path / "w.pth"))


@pytest.mark.parametrize("content", [{}, {"state_dict": {"a": 1}}, [torch.zeros(2)], {"model": {}}])
def test_a_file_without_layers(backbone, tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(FeropsError, match="does not hold weights by layer name"):
        pretrain(backbone, NET, str(tmp_path / "w.pth"))


def test_a_path_that_is_not_there(tmp_path, backbone):
    for source in (tmp_path / "gone.pth", tmp_path):
        with pytest.raises(
            FeropsError, match=r"does not exist\. pretrained takes faces, faces-dlib, imagenet, hub, the path of"
        ):
            pretrain(backbone, NET, str(source))


def test_a_backbone_without_packaged_weights(backbone):
    with pytest.raises(FeropsError, match=r"no weights of resnet18 come .* imagenet \(architecture: tf_efficientnet_l"):
        pretrain(backbone, "resnet18", "imagenet")


def test_the_former_name_says_the_new_one(backbone):
    with pytest.raises(FeropsError, match="package is now called imagenet"):
        pretrain(backbone, "efficientnet_lite0", "package")


# --- the hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty cache, and an address at which nobody answers."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def at(url):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    at("http://127.0.0.1:9")
    return at


@pytest.mark.usefixtures("hub")
def test_no_network_is_reported_at_once(backbone):
    started = time.monotonic()
    with pytest.raises(FeropsError) as caught:
        pretrain(backbone, NET, "hub")
    assert time.monotonic() - started < 5
    message = str(caught.value)
    assert "weights of test_resnet could not be fetched (ConnectError" in message
    assert "https://huggingface.co/timm/test_resnet.r160_in1k" in message
    assert "architecture: tf_mobilenetv1_100 with pretrained: faces" in message
    assert "pretrained: null" in message


@pytest.mark.usefixtures("hub")
def test_a_hub_switched_off_by_the_user(backbone, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FeropsError, match=r"could not be fetched .*[Oo]ffline"):
        pretrain(backbone, NET, "hub")


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("offline", [False, True])
def test_cached_weights_need_no_network(backbone, weights, monkeypatch, tmp_path, offline):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "cache" / "models--timm--test_resnet.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    save_file(weights, folder / "snapshots" / commit / "model.safetensors")
    start = pretrain(backbone, NET, "hub")
    assert holds(backbone, weights)
    assert (start.source, start.sha256, start.licence) == ("hub", None, "apache-2.0")


def test_weights_are_fetched_once(backbone, weights, hub, tmp_path):
    save_file(weights, tmp_path / "model.safetensors")
    content, asked = (tmp_path / "model.safetensors").read_bytes(), []

    class Hub(http.server.BaseHTTPRequestHandler):
        def answer(self, *, body):
            asked.append((self.command, self.path))
            self.send_response(200)
            self.send_header("ETag", '"abc"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        hub(f"http://127.0.0.1:{server.server_port}")
        pretrain(backbone, NET, "hub")
        assert holds(backbone, weights)
        pretrain(zoo.create(NET, num_classes=6, size_px=32), NET, "hub")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    gets = [path for command, path in asked if command == "GET" and path.endswith("model.safetensors")]
    assert gets == ["/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"]


def test_a_backbone_without_weights():
    import timm

    bare = next(one for one in timm.list_models() if not zoo.published(one).has_weights)
    with pytest.raises(FeropsError, match=f"no pretrained weights of {bare}"):
        pretrained._from_hub(bare, zoo.published(bare))


def test_pixels_are_normalised_as_the_weights_want_them(layout, make_params, tmp_path):
    """The network that starts from a folder divides by that folder's standard deviation."""
    trained_folder(tmp_path / "run")
    params = make_params()
    start = params.models["baseline"].model_copy(update={"architecture": NET, "pretrained": str(tmp_path / "run")})
    training = prepare(layout, params.model_copy(update={"models": {"baseline": start}}), "baseline")
    config = training.config
    np.testing.assert_allclose(training.fit.state.net.std.flatten(), [0.4, 0.5, 0.6], rtol=1e-6)
    assert (config.mean, config.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert config.pretrained is not None
    assert config.pretrained["source"] == str(tmp_path / "run")
    assert len(config.pretrained["sha256"] or "") == 64
    assert config.licence.endswith("pretrained weights: terms of the folder's data")
