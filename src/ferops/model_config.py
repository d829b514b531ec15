"""config.json beside trained weights and exported files: all that is needed to use them, readable without torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field

from ferops.config import Align, Choose, FaceSettings, Share, Tta
from ferops.errors import FeropsError
from ferops.files import read_json
from ferops.records import Provenance, Record

FP32_FILE = "model.onnx"
INT8_FILE = "model-int8.onnx"
WEIGHTS_FILE = "weights.safetensors"

Channels = tuple[float, float, float]


class Ingredient(Record):
    """A training whose weights a soup is made of: artifacts/train/`name`, whose weights have this `sha256`.

    The other fields are as in ModelConfig.
    """

    name: str
    sha256: str
    pretrained: dict[str, str | None] | None
    teacher: dict[str, str] | None


class Adjustment(Record):
    """The logits of artifacts/train/`name`, whose weights have this `sha256`, were adjusted (`ferops adjust`).

    Attributes:
        share: of the logarithm of each class's frequency, which was taken off its logit; below 0 it was added.
    """

    name: str
    sha256: str
    share: Annotated[float, Field(ge=-1.0, le=1.0)]


class Member(Record):
    """A network of an ensemble: that of artifacts/train/`name`, whose weights have this `sha256`.

    The other fields are as in ModelConfig; `temperature` was fitted on the validation split.
    """

    name: str
    sha256: str
    architecture: str
    mean: Channels
    std: Channels
    grayscale: bool
    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    pretrained: dict[str, str | None] | None
    teacher: dict[str, str] | None
    ingredients: tuple[Ingredient, ...] = ()
    adjusted: Adjustment | None = None
    parameters: Annotated[int, Field(ge=1)]


class ModelConfig(Record):
    """What travels with a model's weights.

    Attributes:
        architecture: a name of timm's zoo; of an ensemble, those of its members.
        members: of an ensemble; empty for other models.
        ingredients: of a soup, whose weights are a mean of theirs; empty for other models.
        adjusted: the model whose logits were adjusted for how frequent the classes are in training; None for others.
        classes: in the order of logits and probabilities.
        size_px: side of the square face that the network takes.
        mean, std: of the training faces, per RGB channel, in units of 0-1; with pretrained weights, those that they
            were learnt with.
        grayscale: every training face was grey, or made so, and the network takes the colour out of what it is given.
        pretrained: `source`, `sha256` and `licence` of the weights that training started from; None for random ones.
        teacher: `source`, `sha256` and `licence` of the weights that it learnt from; None for labels.
        temperature: divides the logits before the softmax; 1 until the export has fitted it.
        parameters: how many numbers were trained.
    """

    stored_in: ClassVar[str] = "artifacts/train/NAME/config.json"
    made_by: ClassVar[str] = "ferops train NAME"

    architecture: str
    members: tuple[Member, ...] = ()
    ingredients: tuple[Ingredient, ...] = ()
    adjusted: Adjustment | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    size_px: Annotated[int, Field(ge=32)]
    mean: Channels
    std: Channels
    grayscale: bool = False
    pretrained: dict[str, str | None] | None = None
    teacher: dict[str, str] | None = None
    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    parameters: Annotated[int, Field(ge=1)]
    provenance: Provenance
    licence: str

    @property
    def trainings(self) -> tuple[ModelConfig | Member | Ingredient, ...]:
        """All that may have begun with weights, or had a teacher: the model itself, and what it is made of."""
        parts: tuple[ModelConfig | Member, ...] = (self, *self.members)
        return (*parts, *(each for part in parts for each in part.ingredients))

    @property
    def adjusted_share(self) -> float:
        """The share of `adjusted`, 0 where there is none; of an ensemble, the mean over its members."""
        shares = [one.adjusted.share if one.adjusted else 0.0 for one in self.members or (self,)]
        return sum(shares) / len(shares)


class ExportConfig(ModelConfig):
    """What lies beside the exported files: the model's config, and how to make its faces.

    The provenance is the training's. `detector`, `min_confidence`, `margin`, `choose` and `align` are those of
    `preprocess`: the service must cut faces out as the training did. Models exported by ferops 0.1 lack `detector` and
    `align`; it had no others than the defaults here.

    Attributes:
        served: the file that runs, in an export one of the .onnx files; `temperature` was fitted on its logits.
        tta: test-time augmentation, for which the temperature was fitted.
        low_confidence: calibrated confidences below it need human review.
        coverage: share of the sets of classes that are to hold the label; None in exports of before, which have none.
        set_threshold: a class is in the set from this probability on, chosen on the validation split.
    """

    stored_in: ClassVar[str] = "artifacts/export/config.json"
    made_by: ClassVar[str] = "ferops export"

    served: Literal["model.onnx", "model-int8.onnx", "weights.safetensors"]
    tta: Tta = "off"
    detector: str = "mtcnn"
    min_confidence: Share
    margin: Share
    choose: Choose
    align: Align = "eyes_nose"
    low_confidence: Share
    coverage: Share | None = None
    set_threshold: Share | None = None

    @property
    def faces(self) -> FaceSettings:
        """The settings for detection and cropping."""
        return FaceSettings.model_validate(self.model_dump(include=set(FaceSettings.model_fields)))


Config = TypeVar("Config", bound=ModelConfig)


def read_model_config(folder: Path, kind: type[Config]) -> Config:
    """Read `folder`/config.json as `kind`.

    Raises:
        FeropsError: the file is missing, not JSON, or not such a config.
    """
    path = folder / "config.json"
    if not path.exists():
        raise FeropsError(
            f"{path} does not exist: {folder} holds no model. Make one with `ferops train NAME` or `ferops export`"
        )
    return kind.read(path, made_by=kind.made_by)


def read_training_config(folder: Path) -> ModelConfig:
    """Read `folder`/config.json, of a training or of a model that comes with ferops (an export with its weights).

    Raises:
        FeropsError: as `read_model_config`.
    """
    found = read_json(folder / "config.json", made_by=ModelConfig.made_by)
    return read_model_config(folder, ExportConfig if isinstance(found, dict) and "served" in found else ModelConfig)


def export_digest(folder: Path) -> str:
    """Return the SHA-256 of an export folder, without the `provenance` in config.json: every commit changes it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "config.json":
            config = json.loads(content)
            config.pop("provenance", None)
            content = json.dumps(config, sort_keys=True).encode()
        digest.update(f"{path.relative_to(folder).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()
