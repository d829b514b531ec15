from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from blobs import make_project, params_tree
from exports import provenance
from ferops import config
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.training import data, model
from ferops.training.evaluator import predict
from ferops.training.faces import channel_statistics
from ferops.training.precision import Precision


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def params() -> Params:
    tree = params_tree()
    tree["export"] |= {"calibration_images": 48, "max_disagreement": 0.2}
    return config.parse(tree)


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A project whose candidate, a small ResNet, has had a few steps on the blobs: logits with some spread."""
    layout = make_project(tmp_path_factory.mktemp("project"))
    faces = data.read_faces(layout, "train")
    mean, std = channel_statistics(faces)
    net = model.build("test_resnet", num_classes=6, size_px=32, mean=mean, std=std, seed=1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    images, labels = torch.from_numpy(np.array(faces.images)), torch.from_numpy(faces.labels)
    for _ in range(6):
        for rows in torch.arange(96).split(32):
            nn.functional.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    save_candidate(layout, net, mean=mean, std=std)
    return layout


def save_candidate(layout: Layout, net: model.ExpressionNet, **normalisation: Any) -> None:
    folder = layout.model("candidate")
    folder.mkdir(parents=True)
    written = ModelConfig(
        architecture="test_resnet",
        classes=DEFAULT_CLASSES,
        size_px=32,
        **normalisation,
        parameters=model.count_parameters(net),
        provenance=provenance(seed=1),
        licence="Apache-2.0",
    )
    model.save(folder, net, written)
    logits = predict(net, data.read_faces(layout, "val").images, precision=Precision(torch.device("cpu"), None))
    np.save(folder / "val_logits.npy", logits)
