import pytest
import torch
from timm.models import group_parameters

from ferops.errors import FeropsError
from ferops.training import zoo

NAME = "face_resnet29"


@pytest.mark.parametrize(("size_px", "cells"), [(71, 1), (112, 1), (144, 2), (150, 2), (224, 3)])
def test_it_takes_faces_of_many_sizes(size_px, cells):
    backbone = zoo.create(NAME, num_classes=5, size_px=size_px).eval()
    images = torch.zeros(2, 3, size_px, size_px)
    with torch.inference_mode():
        maps = backbone.forward_features(images)
        assert maps.shape == (2, 256, cells, cells)
        assert backbone.forward_head(maps, pre_logits=True).shape == (2, backbone.num_features)
        assert backbone(images).shape == (2, 5)


def test_too_small_faces_are_refused_in_words():
    backbone = zoo.create(NAME, num_classes=5, size_px=70)
    with pytest.raises(FeropsError, match="face_resnet29 cannot take faces of 70 px"):
        zoo.require_size(backbone, NAME, size_px=70)


def test_stochastic_depth_is_refused_rather_than_left_out():
    with pytest.raises(FeropsError, match="drop_path_rate"):
        zoo.create(NAME, num_classes=5, size_px=150, drop_path_rate=0.1)


def test_the_shortcut_keeps_even_and_odd_sides_in_step_and_new_channels_start_from_it_as_zero():
    block = zoo.create(NAME, num_classes=5, size_px=150).blocks[3].eval()  # 32 to 64 channels
    torch.nn.init.zeros_(block.conv2.weight)
    for side in (16, 17):
        maps = torch.rand(1, 32, side, side)
        with torch.inference_mode():
            found = block(maps)
        torch.testing.assert_close(found[:, :32], torch.nn.functional.avg_pool2d(maps, 2))
        assert not found[:, 32:].any()


def test_layers_are_counted_from_the_first_to_the_head():
    backbone = zoo.create(NAME, num_classes=5, size_px=150)
    layers = group_parameters(backbone, backbone.group_matcher(), reverse=True)
    assert layers["stem.weight"] == layers["norm.bias"] == 0
    assert layers["blocks.0.conv1.weight"] == 1
    assert layers["blocks.13.conv2.weight"] == 14
    assert layers["fc.weight"] == max(layers.values())
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 5_578_272 + 5 * 257
