"""config.json beside the exported files: the model's own, and what the Predictor needs to prepare its faces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ferops.training.config import ModelConfig

FP32_FILE = "model.onnx"
INT8_FILE = "model-int8.onnx"

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class ExportConfig(ModelConfig):
    """`served` names the file that runs; `temperature` was fitted on its logits. The provenance is the training's.

    `min_confidence`, `margin` and `choose` are those of `preprocess`: the service must cut faces as the training did.
    A calibrated confidence below `low_confidence` is a case for human review.
    """

    served: Literal["model.onnx", "model-int8.onnx"]
    min_confidence: Share
    margin: Share
    choose: Literal["largest", "central"]
    low_confidence: Share
