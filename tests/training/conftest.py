from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from blobs import make_project, params_tree
from ferops import config
from ferops.config import Params
from ferops.layout import Layout


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_project(tmp_path)


@pytest.fixture
def make_params() -> Callable[..., Params]:
    """Parse the shipped settings with some of the block `train`, and the baseline's epochs, changed."""

    def make(*, epochs: int = 2, seed: int = 7, **train: Any) -> Params:
        tree = params_tree()
        tree["seed"] = seed
        tree["train"] |= train
        tree["models"]["baseline"]["epochs"] = epochs
        return config.parse(tree)

    return make
