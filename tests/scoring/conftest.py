from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from exports import change
from pictures import quick_params


@pytest.fixture
def export(make_export: Callable[..., Path], tmp_path: Path) -> Path:
    """An exported model of a project that was trained on `wild` and `fer2013`, of which the second is tight crops."""
    folder = tmp_path / "model"
    shutil.copytree(make_export(favours="happy"), folder)
    learnt_with = {"tight_sources": ("fer2013",), "size_px": 32, "min_face_px": 20.0}
    params = quick_params(preprocess=learnt_with).model_dump(mode="json", by_alias=True)
    change(
        folder, align="steady_scale", detector="mtcnn", provenance={"sources": ["wild", "fer2013"], "params": params}
    )
    return folder
