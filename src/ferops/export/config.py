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

    `detector`, `min_confidence`, `margin`, `choose` and `align` are those of `preprocess`: the service must cut faces
    as the training did. Models exported by ferops 0.1 lack `detector` and `align`; it had no others than the defaults
    here. A calibrated confidence below `low_confidence` is a case for human review.
    """

    served: Literal["model.onnx", "model-int8.onnx"]
    detector: str = "mtcnn"
    min_confidence: Share
    margin: Share
    choose: Literal["largest", "central"]
    align: Literal["steady_scale", "five_points", "eyes_nose"] = "eyes_nose"
    low_confidence: Share
