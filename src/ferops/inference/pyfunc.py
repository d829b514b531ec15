"""The exported classifier as an MLflow model from code: `save_model(python_model=<this file>, ...)`.

MLflow stores this source and runs it on loading, so nothing is pickled. The artifact `export` is the export stage's
folder. Input: aligned faces, uint8 `(N, S, S, 3)`, RGB, as `ferops preprocess` makes them. Output: calibrated
probabilities, float32 `(N, K)` in the order of the model's classes. Loading it requires ferops.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

if TYPE_CHECKING:
    from ferops.export.runtime import Classifier


class ExportedClassifier(PythonModel):
    """Runs the `served` file of the export folder."""

    _classifier: Classifier

    def load_context(self, context: PythonModelContext) -> None:
        from ferops.export.runtime import Classifier

        self._classifier = Classifier(Path(context.artifacts["export"]))

    # Without annotations: MLflow would read a signature from them, and the registry gives the exact one
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def] # noqa: ARG002
        return self._classifier.probabilities(np.asarray(model_input, dtype=np.uint8))


mlflow.models.set_model(ExportedClassifier())
