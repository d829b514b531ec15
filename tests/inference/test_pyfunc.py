"""The exported classifier comes back out of MLflow and says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ferops
from ferops.export.runtime import Classifier


# MLflow warns about type hints of its own on import, and asks for some that an explicit signature makes needless
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_logged_model_predicts_as_the_export_does(
    make_export: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    folder = make_export(favours="sad", temperature=1.5, tta="flip_zoom")
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 32, 32, 3))]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 6))]),
    )
    mlflow.pyfunc.save_model(
        tmp_path / "model",
        python_model=str(Path(ferops.__file__).parent / "inference" / "pyfunc.py"),
        artifacts={"export": str(folder)},
        signature=signature,
        pip_requirements=["openvino"],
    )
    assert not list((tmp_path / "model").rglob("*.pkl"))
    faces = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict(faces), Classifier(folder).probabilities(faces))
