from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from blobs import SIZE_PX, make_project, params_tree
from ferops import config
from ferops.config import Params
from ferops.layout import Layout
from ferops.training import data, model
from ferops.training.checkpoint import Checkpoint
from ferops.training.distributed import World
from ferops.training.fit import Fit
from ferops.training.precision import Precision
from ferops.training.step import plan_steps
from ferops.training.teacher import Teacher


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def params() -> Params:
    """The tests' settings as they are."""
    return config.parse(params_tree())


@pytest.fixture
def make_params() -> Callable[..., Params]:
    """Parse the tests' settings with some of the block `train`, and the baseline's epochs, changed."""

    def make(*, epochs: int = 2, seed: int = 7, **train: Any) -> Params:
        tree = params_tree()
        tree["seed"] = seed
        tree["train"] |= train
        tree["models"]["baseline"]["epochs"] = epochs
        return config.parse(tree)

    return make


@pytest.fixture
def make_fit(layout: Layout, make_params: Callable[..., Params]) -> Callable[..., Fit]:
    """Fit a tiny ResNet (batch norms, 0.5 million weights) to the blobs; `network` are arguments of `model.build`."""

    def make(
        *,
        architecture: str = "test_resnet",
        network: dict[str, float] | None = None,
        digest: str = "a",
        epochs: int = 2,
        seed: int = 7,
        precision: Precision | None = None,
        teacher: Teacher | None = None,
        targets: NDArray[np.float32] | None = None,
        offsets: NDArray[np.float32] | None = None,
        **settings: Any,
    ) -> Fit:
        params = make_params()
        # The settings' checks across blocks (freezing random weights) are tested with the settings
        train = params.train.model_copy(update=settings)
        faces, chosen, world = (
            data.read_faces(layout, "train"),
            precision or Precision(torch.device("cpu"), None),
            World(),
        )
        if targets is None:
            targets = data.read_targets(layout, "train", faces, params.data.classes, votes=train.votes)
        net = model.build(architecture, num_classes=targets.shape[1], size_px=SIZE_PX, seed=1, **(network or {}))
        return Fit(
            net,
            plan_steps(net, train, faces=len(faces), precision=chosen, world=world),
            train=train,
            epochs=epochs,
            seed=seed,
            faces=faces,
            targets=targets,
            offsets=offsets,
            validation=data.read_faces(layout, "val"),
            precision=chosen,
            checkpoint=Checkpoint(layout.state / "checkpoints" / "baseline", digest),
            world=world,
            teacher=teacher,
        )

    return make
