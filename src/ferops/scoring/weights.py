"""Trained weights as the classifier of a Predictor, by PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ferops.config import FaceSettings, Tta
from ferops.export.calibration import probabilities
from ferops.export.views import pooled
from ferops.model_config import WEIGHTS_FILE, ExportConfig, ModelConfig, read_model_config
from ferops.scoring.framing import rules_of
from ferops.training import model
from ferops.training.evaluator import predict
from ferops.training.precision import Precision


class TrainedWeights:
    """Weights as `ferops train` writes them, in FP32 whatever the machine has: a score belongs to the weights.

    `config` is what an export of them would say, with the settings that they were trained with.
    """

    def __init__(self, folder: Path, *, tta: Tta | None = None) -> None:
        """Load `folder`. Raises FeropsError: it is incomplete or damaged, or its files do not fit each other."""
        trained = read_model_config(folder, ModelConfig)
        self._net, _ = model.load(folder)
        self.tta: Tta = tta or "off"
        self._precision = Precision(torch.device("cuda" if torch.cuda.is_available() else "cpu"), None)
        self._net.to(self._precision.device)
        faces = rules_of(trained, origin=str(folder / WEIGHTS_FILE)).model_dump(include=set(FaceSettings.model_fields))
        review = trained.provenance.params.get("evaluate", {}).get("low_confidence", 0.0)
        self.config = ExportConfig.model_validate(
            trained.model_dump() | faces | {"served": WEIGHTS_FILE, "low_confidence": review}
        )

    def probabilities(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities float32 `(N, K)` of RGB uint8 faces `(N, S, S, 3)`; rows sum to 1."""
        logits = pooled(self._logits, faces, self.tta)
        return probabilities(logits, self.config.temperature)

    def _logits(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        return predict(self._net, np.ascontiguousarray(faces), precision=self._precision)
