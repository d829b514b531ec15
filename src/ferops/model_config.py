"""config.json beside trained weights and exported files: all that is needed to use them, readable without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferops.config import Align, Choose, FaceSettings, Share
from ferops.errors import FeropsError
from ferops.records import Provenance

FP32_FILE = "model.onnx"
INT8_FILE = "model-int8.onnx"
WEIGHTS_FILE = "weights.safetensors"

Channels = tuple[float, float, float]


class ModelConfig(BaseModel):
    """What travels with a model's weights.

    `mean` and `std` are those of the training faces, per RGB channel, in units of 0-1. `temperature` divides the logits
    before the softmax (1.0 until the export has fitted it). `parameters` counts the trainable numbers. `grayscale`:
    every training face was grey, and the network takes the colour out of what it is given. With pretrained weights
    (`pretrained`: source, sha256, licence), `mean` and `std` are those that they were learnt with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    size_px: Annotated[int, Field(ge=32)]
    mean: Channels
    std: Channels
    grayscale: bool = False
    pretrained: dict[str, str | None] | None = None
    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    parameters: Annotated[int, Field(ge=1)]
    provenance: Provenance
    licence: str


class ExportConfig(ModelConfig):
    """What lies beside the exported files: the model's config, and how to make its faces.

    `served` names the file that runs, in an export one of the .onnx files; `temperature` was fitted on its logits. The
    provenance is of the training. `detector`, `min_confidence`, `margin`, `choose` and `align` are of `preprocess`:
    the service must cut faces as the training did. Models exported by ferops 0.1 lack `detector` and `align`; it had no
    others than the defaults here. A calibrated confidence below `low_confidence` is a case for human review.
    """

    served: Literal["model.onnx", "model-int8.onnx", "weights.safetensors"]
    detector: str = "mtcnn"
    min_confidence: Share
    margin: Share
    choose: Choose
    align: Align = "eyes_nose"
    low_confidence: Share

    @property
    def faces(self) -> FaceSettings:
        """How the model's faces are found and cut out."""
        return FaceSettings.model_validate(self.model_dump(include=set(FaceSettings.model_fields)))


Config = TypeVar("Config", bound=ModelConfig)


def read(folder: Path, kind: type[Config]) -> Config:
    """Read `folder`/config.json as `kind`.

    Raises:
        FeropsError: the file is missing, not JSON, or not such a config.
    """
    path = folder / "config.json"
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FeropsError(
            f"{path} does not exist: {folder} holds no model. "
            "A model folder is made by `ferops train NAME` or `ferops export`"
        ) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}" for detail in error.errors()
        )
        raise FeropsError(f"{path} is not the config of a model: {problems}. Make the model again") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise FeropsError(f"{path} is not JSON: {error}. Make the model again") from error
