from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from ferops.errors import FeropsError
from ferops.training import zoo
from quoted import python_blocks

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "timms"),
    [
        ("resnet18", "resnet18"),
        ("efficientnet_lite0", "tf_efficientnet_lite0"),
        ("mobilenetv1", "tf_mobilenetv1_100"),
        ("mobilenetv3_large", "mobilenetv3_large_100"),
        ("mobilenetv3_small", "mobilenetv3_small_100"),
        ("resnet18.tv_in1k", "resnet18.tv_in1k"),
    ],
)
def test_names_of_the_field_are_timms(name, timms):
    assert zoo.resolve(name) == timms


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "resnet50",
        "vgg16_bn",
        "efficientnet_b0",
        "efficientnet_lite0",
        "mobilenetv3_large",
        "mobilenetv3_small",
        "vit_base_patch16_224",
    ],
)
def test_the_promised_backbones_are_in_the_zoo_with_weights(name):
    assert zoo.published(zoo.resolve(name)).has_weights


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnet81", "resnet18"),
        ("ResNet-50", "resnet50"),
        ("EfficientNet-Lite0", "efficientnet_lite0"),
        ("mobilenetv3", "mobilenetv3_large"),
    ],
)
def test_an_unknown_backbone_names_the_nearest(name, near):
    with pytest.raises(FeropsError, match=f"no backbone '{name}'.*the nearest are ") as caught:
        zoo.resolve(name)
    nearest = str(caught.value).split("the nearest are ")[1].split(". All")[0].split(", ")
    assert near in nearest
    assert len(set(nearest)) == len(nearest)


def test_the_small_resnet_keeps_the_resolution_of_small_faces():
    net = zoo.create("resnet18_small", num_classes=7, size_px=48, drop_path_rate=0.1).eval()
    with torch.inference_mode():
        assert net.forward_features(torch.zeros(1, 3, 48, 48)).shape == (1, 384, 6, 6)  # resnet18: (1, 512, 2, 2)
        assert net(torch.zeros(2, 3, 96, 96)).shape == (2, 7)
    assert sum(p.numel() for p in net.parameters()) < 8e6  # in half precision 16 MB


def test_the_example_of_a_backbone_is_one():
    example = python_blocks(ROOT / "docs" / "extending.md")["src/ferops/training/zoo.py"]
    exec(compile(example, "zoo.py", "exec", dont_inherit=True), dict(vars(zoo)))
    network = zoo.create("resnet10_example", num_classes=6, size_px=64)
    assert sum(weight.numel() for weight in network.parameters()) < 6e6  # a ResNet-18 has 11 million


def test_nothing_is_near_to_nonsense():
    with pytest.raises(FeropsError, match=r"no backbone '\?\?\?' in timm [\d.]+\. All names"):
        zoo.resolve("???")


def test_an_unknown_set_of_weights_names_the_known_ones():
    with pytest.raises(FeropsError, match=r"no weights 'in22k' of resnet18; it has .*tv_in1k"):
        zoo.resolve("resnet18.in22k")


@pytest.mark.parametrize(
    ("name", "size_px", "message"),
    [
        (
            "test_vit",
            100,
            r"cannot take faces of 100 px: Input height \(100\) should be divisible by patch size \(16\)",
        ),
        ("test_vit", 8, "cannot take faces of 8 px"),
        ("inception_v3", 48, "cannot take faces of 48 px: .*Kernel size"),
    ],
)
def test_a_size_that_the_backbone_cannot_take(name, size_px, message):
    with pytest.raises(FeropsError, match=f"{name} {message}.*preprocess.size_px"):
        zoo.require_size(zoo.create(name, num_classes=6, size_px=size_px), name, size_px=size_px)


def test_stochastic_depth_where_there_is_none():
    with pytest.raises(FeropsError, match=r"vgg11 cannot be built .* with drop_path_rate 0\.1: .*drop_path_rate"):
        zoo.create("vgg11", num_classes=6, size_px=32, drop_path_rate=0.1)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_size_that_fits_changes_nothing(name):
    backbone = zoo.create(name, num_classes=6, size_px=48, drop_rate=0.1, drop_path_rate=0.1)
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    generator = torch.random.get_rng_state()
    zoo.require_size(backbone, name, size_px=48)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("name", "head"), [("test_resnet", "fc"), ("test_efficientnet", "classifier"), ("test_vit", "head")]
)
def test_the_head_is_the_last_layer(name, head):
    backbone = zoo.create(name, num_classes=6, size_px=32)
    assert zoo.head_parameters(backbone) == {f"{head}.weight", f"{head}.bias"}
    assert backbone.get_parameter(f"{head}.bias").shape == (6,)


def test_a_distilled_network_has_two_heads():
    heads = zoo.head_parameters(zoo.create("levit_128s", num_classes=6, size_px=64))
    assert {name.split(".")[0] for name in heads} == {"head", "head_dist"}


def test_a_network_that_does_not_say_has_none():
    assert zoo.head_parameters(torch.nn.Linear(2, 6)) == set()


def test_dropout_and_stochastic_depth_arrive():
    backbone = zoo.create("test_efficientnet", num_classes=6, size_px=32, drop_rate=0.3, drop_path_rate=0.2)
    assert backbone.drop_rate == 0.3
    # Linear over the blocks, so the last one's is nearly the whole rate
    rates = [layer.drop_prob for layer in backbone.modules() if isinstance(layer, timm.layers.DropPath)]
    assert rates == sorted(rates)
    assert 0.0 < rates[-1] <= 0.2


def test_a_summary_counts_what_it_leaves_out():
    lines = zoo.summarise([f"layer{number}: missing" for number in range(11)], at_most=3).splitlines()
    assert lines == ["  layer0: missing", "  layer1: missing", "  layer2: missing", "  and 8 more"]
