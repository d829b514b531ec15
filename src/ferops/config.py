"""params.yaml, parsed once into frozen, typed settings.

The blocks carry the names of the stages. A key that no block knows is an error that names the nearest known one, so
that a typo cannot silently fall back to a default: there are no defaults, the file is the single source.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from ferops.classes import CLASS_NAME, canonical
from ferops.errors import FeropsError
from ferops.files import parse_yaml

PURPOSES = ("research", "education_of_practitioners", "accessibility_aid", "entertainment", "usability_study")
"""Purposes that a deployment may declare. None of them judges a person at work, at school or in hiring."""

_BLOCK = "docs/judging.md has the block to copy"

REPLACED = {
    "data.other_labels": "list the classes in data.classes, and map other labels to them in data.map",
    "train.soft_labels": "set train.votes: 1.0 for true, 0.0 for false",
    "register.min_test_samples": f"it is register.gates.enough_samples.at_least now. {_BLOCK}",
    "register.min_macro_f1": f"it is register.gates.macro_f1.at_least now. {_BLOCK}",
    "register.max_loss_to_baseline": f"it is register.gates.baseline.at_least now, with the opposite sign. {_BLOCK}",
    "register.max_loss_to_champion": f"it is register.gates.champion.at_least now, with the opposite sign. {_BLOCK}",
    "register.max_calibration_error": f"it is register.gates.calibration.at_most now. {_BLOCK}",
    "register.max_slice_gap": f"it is register.gates.worst_slice.at_least now, with the opposite sign. {_BLOCK}",
}
"""Settings of earlier versions, and what to use instead."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
Network = Annotated[str, AfterValidator(lambda text: str(ip_network(text)))]
Origin = Annotated[str, Field(pattern=r"^https?://[^/\s]+$")]
"""As browsers send it: scheme, host and, where it is not the usual one, port."""
ClassName = Annotated[str, AfterValidator(canonical), Field(pattern=f"^{CLASS_NAME.pattern}$")]
"""A class, written one way whatever word was given for it. Column names are made of it, so it has no spaces."""


def _contradiction(message: str) -> PydanticCustomError:
    return PydanticCustomError("contradiction", "{message}", {"message": message})


class Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Data(Block):
    """`classes` are what a model answers, in order; `map` makes a published label count as one of them.

    Labels that are neither are left out. Common words for a label (angry, surprise) are understood, and kept as
    `ferops.classes` writes them.
    """

    sources: tuple[str, ...] = Field(min_length=1)
    usage: tuple[Literal["train", "val", "test"], ...]
    classes: tuple[ClassName, ...] = Field(min_length=2)
    map: dict[ClassName, ClassName]

    @model_validator(mode="after")
    def _classes_are_distinct_and_mapped_to(self) -> Self:
        twice = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if twice:
            raise _contradiction(f"data.classes lists {', '.join(twice)} more than once")
        for label, name in self.map.items():
            if name not in self.classes:
                raise _contradiction(
                    f"data.map maps {label} to {name}, which is not in data.classes: {', '.join(self.classes)}"
                )
            if label in self.classes:
                raise _contradiction(f"data.map maps {label} to {name}, but {label} is one of data.classes itself")
        return self


class Validate(Block):
    min_side_px: Count
    max_side_px: Count
    blank_std: NonNegative
    label_conflicts: Literal["quarantine", "keep"]
    near_duplicates: Literal["group", "quarantine", "ignore"]
    near_threshold: Annotated[float, Field(ge=0.5, le=1.0)]
    near_label_conflicts: Literal["quarantine", "keep"]
    not_a_face: Literal["quarantine", "keep"]
    label_review_folds: Annotated[int, Field(ge=0, le=20)]
    min_class_share: Share
    max_class_share: Share
    min_rows_per_class: Count
    max_quarantine_share: Share

    @field_validator("label_review_folds")
    @classmethod
    def _folds_leave_something_out(cls, folds: int) -> int:
        if folds == 1:
            raise PydanticCustomError("one_fold", "one fold leaves nothing to learn from; 0 is off, 2 or more review")
        return folds


class Split(Block):
    official_test: bool
    test_share: Share
    val_share: Share
    folds: Annotated[int, Field(ge=0, le=100)]
    test_fold: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _one_way_to_the_test_split(self) -> Self:
        if self.folds == 1:
            raise _contradiction("folds is 1: one fold leaves nothing to train on. 0 is off, 2 or more cross-validates")
        if self.folds and self.official_test:
            raise _contradiction(
                f"folds {self.folds} and official_test contradict each other: a fold is drawn, an official test is "
                "given. Set folds to 0 or official_test to false"
            )
        if self.test_fold >= max(self.folds, 1):
            raise _contradiction(
                f"test_fold {self.test_fold} does not exist: "
                + (f"folds are counted from 0 to {self.folds - 1}" if self.folds else "set folds, too")
            )
        return self


Choose = Literal["largest", "central"]
"""Which face of an image counts."""

Align = Literal["steady_scale", "five_points", "eyes_nose"]
"""How a face is fitted into its square (`ferops.faces.align`)."""


Tta = Literal["off", "flip", "flip_zoom"]
"""Test-time augmentation: the views of a face whose answers are averaged (`ferops.export.views`)."""


class FaceSettings(Block):
    """How faces are found and cut out: the same for training, evaluation and service, so it travels with a model.

    `detector` is a name that `ferops.faces.detectors.build` knows: checked when the stage starts, for packages may add
    their own.
    """

    detector: str
    size_px: Annotated[int, Field(ge=32, le=512)]
    min_confidence: Share
    margin: Annotated[float, Field(ge=0.0, lt=0.5)]
    choose: Choose
    align: Align


class FaceRules(FaceSettings):
    """Which images give a face to learn from, and how it is made: all that determines it."""

    tight_sources: tuple[str, ...]
    tight: Literal["detect", "whole"]
    min_face_px: NonNegative
    no_face: Literal["quarantine", "keep"]


class Preprocess(FaceRules):
    batch_size: Count
    workers: Count | Literal["auto"]
    runner: Literal["local", "dask"]
    dask_address: str | None


class Sampling(Block):
    """A face of a source is drawn `weight` times (the share of its class in the source)^-`balance`; the source `others`
    stands for all that are not named.

    `adjust` times the logarithms of the classes' shares among its drawn faces are added to their logits in training, so
    that the network itself need not expect frequent classes there.
    """

    weight: Positive
    balance: Share
    adjust: NonNegative = 0.0


class Train(Block):
    device: Literal["auto", "cpu", "cuda"]
    amp: Literal["auto", "bf16", "fp16", "off"]
    compile: bool
    batch_size: Count
    accumulate: Count | Literal["auto"]
    memory_gb: Positive
    optimizer: Literal["adamw", "sgd"]
    weight_decay: NonNegative
    max_lr: Positive
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)]
    schedule: Literal["onecycle", "cosine"]
    warmup_share: Share
    clip_norm: Positive
    freeze_epochs: Annotated[int, Field(ge=0)]
    freeze_layers: Annotated[int, Field(ge=0)]
    small_px: Literal[0] | Annotated[int, Field(ge=32)]
    small_share: Share
    ema_decay: Annotated[float, Field(ge=0.0, lt=1.0)]
    norm_faces: Annotated[int, Field(ge=0)] = 0
    early_stopping: Annotated[int, Field(ge=0)]
    loss: Literal["focal", "cross_entropy"]
    focal_gamma: NonNegative
    class_weights: Literal["inverse", "effective", "none"]
    effective_beta: Annotated[float, Field(gt=0.0, lt=1.0)]
    label_smoothing: Share
    votes: Share
    sampling: dict[str, Sampling]
    mixup_alpha: NonNegative
    cutmix_alpha: NonNegative
    teacher_share: Share
    teacher_temperature: Positive
    flip_probability: Share
    rotation_degrees: NonNegative
    crop_share: Share
    zoom_out: Share
    brightness: Share
    contrast: Share
    saturation: Share
    grey_probability: Share
    low_resolution_probability: Share
    blur_probability: Share
    jpeg_probability: Share
    erase_probability: Share
    every_fold: bool
    checkpoint_every: Count
    watch_every: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _frozen_layers_get_their_turn(self) -> Self:
        if 0 < self.early_stopping < self.freeze_epochs:
            raise _contradiction(
                f"early_stopping {self.early_stopping} could end a run within its freeze_epochs "
                f"({self.freeze_epochs}), before the whole network learns. Set it to {self.freeze_epochs} or more, or "
                "to 0 (off)"
            )
        return self


LABELS = "artifacts/preprocess/faces.parquet"
"""What a model without a teacher learns from. A path like that of a teacher, since dvc.yaml makes it a dependency."""


class Model(Block):
    """A network to train; with 0 epochs the model in the folder `learns_from` itself, taken as it is."""

    architecture: str
    pretrained: str | None
    learns_from: Annotated[str, Field(min_length=1)]
    epochs: Annotated[int, Field(ge=0)]
    drop_rate: Annotated[float, Field(ge=0.0, lt=1.0)]
    drop_path_rate: Annotated[float, Field(ge=0.0, lt=1.0)]

    @model_validator(mode="after")
    def _no_epoch_needs_a_model(self) -> Self:
        if self.epochs == 0 and (self.teacher is None or self.pretrained):
            raise _contradiction(
                "epochs 0 takes a model as it is: name its folder in learns_from (such as starter), and set pretrained "
                "to null"
            )
        return self

    @property
    def teacher(self) -> str | None:
        """The folder of the model that teaches this one."""
        return None if self.learns_from == LABELS else self.learns_from


class Export(Block):
    model: Annotated[str, Field(min_length=1)]
    calibration_images: Count
    serve: Literal["int8", "fp32"]
    tta: Tta
    max_disagreement: Share
    coverage: Annotated[float, Field(gt=0.0, lt=1.0)]


class Evaluate(Block):
    bootstrap_samples: Annotated[int, Field(ge=100)]
    confidence_level: Annotated[float, Field(gt=0.5, lt=1.0)]
    min_slice_samples: Count
    low_confidence: Share
    costs: dict[ClassName, dict[ClassName, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]]]
    priors: dict[ClassName, Share]

    @model_validator(mode="after")
    def _priors_are_shares(self) -> Self:
        total = sum(self.priors.values())
        if self.priors and abs(total - 1) > 1e-6:
            raise _contradiction(f"priors sum to {total:g}; the shares of all classes sum to 1")
        return self


class Explain(Block):
    map_faces: Annotated[int, Field(ge=20)]
    heat_faces: Annotated[int, Field(ge=10)]


class Fairness(Block):
    pairs: Count
    images: Count
    seconds: Positive


class Robustness(Block):
    faces: Count
    seconds: Positive


Reference = Literal["absolute", "chance", "baseline", "champion", "people", "source", "condition"]
"""What a gate compares a figure with; the last three are kinds of slices, of which the worst counts."""

GateName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]

POLICY = "policy"
"""The gate on the gates themselves (`ferops.registry.policy`)."""


class Rule(Block):
    """A gate: the figure at `metric`, a path into metrics.json, against `reference`, and the one bound that it meets.

    Absolute, `metric` is a path from the top (`candidate.macro_f1.value`), or a figure of another stage
    (`robustness.passed_mirrored`, `fairness.worst_group_accuracy`), and the figure itself counts; else it is a
    path below the model or slice (`accuracy.low`), and the difference counts: candidate minus reference, slice minus
    the whole.
    """

    metric: Annotated[str, Field(min_length=1)]
    reference: Reference
    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None
    above: FiniteFloat | None = None
    below: FiniteFloat | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if len(self.bounds) != 1:
            found = " and ".join(self.bounds) or "no bound"
            raise _contradiction(f"found {found}; a gate has one of at_least, at_most, above, below")
        return self

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are set, by name."""
        return self.model_dump(include={"at_least", "at_most", "above", "below"}, exclude_none=True)


class Register(Block):
    """`gates` has an entry for each gate; `overrides` a reason for each that may be missed."""

    model_name: str
    gates: Annotated[dict[GateName, Rule], Field(min_length=1)]
    overrides: dict[str, str]

    @model_validator(mode="after")
    def _policy_is_no_rule(self) -> Self:
        if POLICY in self.gates:
            raise _contradiction(f"gates.{POLICY} is taken by the gate on changes of the gates. Choose another name")
        return self


class Package(Block):
    bento_name: str
    purpose: Literal[PURPOSES]  # type: ignore[valid-type]


class Serve(Block):
    max_body_mb: Positive
    max_image_megapixels: Positive
    max_faces: Count
    max_batch_images: Count
    max_batch_mb: Positive
    timeout_s: Positive
    upload_s: Positive
    min_upload_kb_s: Positive
    max_uploads: Count
    max_uploads_per_client: Count
    max_waiting: Count
    max_wait_s: Positive
    max_wait_s_per_client: Positive
    max_streams: Count
    max_streams_per_client: Count
    max_stream_fps: Positive
    workers: Count | Literal["auto"]
    allowed_origins: tuple[Origin, ...]
    api_keys_file: str | None
    trusted_proxies: tuple[Network, ...]
    log_dir: str | None
    log_mb: Positive
    log_hashes: bool


class Canary(Block):
    """The share of the clients that the version with the alias canary answers, and what ends it."""

    share: Annotated[float, Field(ge=0.0, le=0.9)]
    min_images: Annotated[int, Field(ge=20)]
    max_error_share: Share
    max_latency_ratio: Annotated[float, Field(gt=1.0)]
    max_confidence_drop: Share


class Params(Block):
    """All settings: the blocks of params.yaml, `validate` as `validation`, `register` as `registry`."""

    preset: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    data: Data
    validation: Validate = Field(alias="validate")
    split: Split
    preprocess: Preprocess
    train: Train
    models: dict[str, Model]
    export: Export
    evaluate: Evaluate
    explain: Explain
    robustness: Robustness
    fairness: Fairness
    registry: Register = Field(alias="register")
    package: Package
    serve: Serve
    canary: Canary

    @model_validator(mode="after")
    def _every_fold_needs_folds(self) -> Self:
        if self.train.every_fold and not self.split.folds:
            raise _contradiction("train.every_fold cross-validates, and split.folds is 0: set it to 5, for example")
        return self

    @model_validator(mode="after")
    def _small_faces_are_small(self) -> Self:
        small, full = self.train.small_px, self.preprocess.size_px
        if small >= full:
            raise _contradiction(
                f"train.small_px {small} is no smaller than preprocess.size_px {full}. Lower it, or set it to 0 (off)"
            )
        return self

    @model_validator(mode="after")
    def _costs_and_priors_are_of_the_classes(self) -> Self:
        classes, given = self.data.classes, self.evaluate
        named = {*given.costs, *(answer for row in given.costs.values() for answer in row), *given.priors}
        if other := sorted(named - set(classes)):
            raise _contradiction(
                f"evaluate.costs or priors name {', '.join(other)}, not in data.classes: {', '.join(classes)}"
            )
        if given.priors and (lacking := [name for name in classes if name not in given.priors]):
            raise _contradiction(f"evaluate.priors lacks {', '.join(lacking)}: give the share of every class, or {{}}")
        return self

    @model_validator(mode="after")
    def _a_model_is_compared_with_another(self) -> Self:
        if self.export.model == "baseline":
            raise _contradiction("export.model is baseline, which the exported model is compared with: name another")
        exported = self.models.get(self.export.model)
        if exported and exported.epochs == 0:
            raise _contradiction(
                f"export.model is {self.export.model}, which has 0 epochs: it exists already. Name a model that is "
                "trained, or judge it as it is: ferops score"
            )
        return self

    @model_validator(mode="after")
    def _frozen_features_are_worth_keeping(self) -> Self:
        frozen = self.train.freeze_epochs
        pretrained = {name: model for name, model in self.models.items() if model.pretrained}
        keys = {"train.freeze_epochs": frozen, "train.freeze_layers": self.train.freeze_layers}
        for key in [key for key, count in keys.items() if count and not pretrained]:
            raise _contradiction(
                f"{key} {keys[key]} would freeze random features: no model has pretrained weights. Set it "
                "to 0, or a model's pretrained to faces, imagenet, hub or a path"
            )
        short = [f"models.{name}.epochs {one.epochs}" for name, one in pretrained.items() if one.epochs <= frozen]
        if short:
            raise _contradiction(
                f"train.freeze_epochs {frozen} leaves no epoch in which the whole network learns: {', '.join(short)}"
            )
        return self


_AGAIN = "Correct it, or write a preset again: ferops preset quick --overwrite"


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check `path`.

    Raises:
        FeropsError: the file is missing or not YAML, a key is unknown, missing or out of its range, or the blocks
            contradict each other.
    """
    return parse(read_yaml(path), origin=str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping without checking its keys. Raises FeropsError: missing, not YAML, or not a mapping."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FeropsError(
            f"{path} does not exist. Run the command in the project's folder, or make one: ferops preset quick"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise FeropsError(f"{path} cannot be read ({error}). {_AGAIN}") from error
    tree = parse_yaml(text, origin=str(path), remedy=_AGAIN)
    if not isinstance(tree, dict):
        raise FeropsError(f"{path} must hold blocks of settings (a mapping), found {type(tree).__name__}")
    return tree


def parse(tree: Any, *, origin: str = "params") -> Params:
    """Check a parsed YAML tree; `origin` names it in messages. Raises FeropsError as `load` does."""
    if not isinstance(tree, dict):
        raise FeropsError(f"{origin} must hold blocks of settings (a mapping), found {type(tree).__name__}")
    try:
        params = Params.model_validate(tree)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(detail)}" for detail in error.errors())
        raise FeropsError(f"{origin} has settings that cannot be used:\n{problems}") from error
    missing = {"baseline", "candidate"} - set(params.models)
    if missing:
        raise FeropsError(f"{origin}: models needs entries named baseline and candidate; missing: {sorted(missing)}")
    return params


def flatten(tree: Mapping[str, Any], *, separator: str = ".") -> dict[str, Any]:
    """Return the leaves of nested mappings under joined keys; a list and an empty mapping are leaves."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            inner = flatten(value, separator=separator)
            flat |= {f"{key}{separator}{below}": leaf for below, leaf in inner.items()}
        else:
            flat[str(key)] = value
    return flat


def _explain(detail: ErrorDetails) -> str:
    *parents, key = [str(part) for part in detail["loc"]] or ["params"]
    dotted = ".".join([*parents, key])
    if detail["type"] == "extra_forbidden":
        if dotted in REPLACED:
            return f"{dotted}: no longer exists; {REPLACED[dotted]}"
        near = difflib.get_close_matches(key, _known_keys(parents), n=1)
        return f"{dotted}: unknown key" + (f", did you mean {near[0]}?" if near else "")
    if detail["type"] == "missing":
        return f"{dotted}: missing"
    if detail["type"] == "contradiction":  # the input is the whole block: too long to repeat
        return f"{dotted}: {detail['msg']}"
    return f"{dotted}: {detail['msg']}, found {detail['input']!r}"


def _known_keys(parents: list[str]) -> list[str]:
    if len(parents) == 2 and parents[0] == "models":
        return _keys(Model)
    if len(parents) == 3 and parents[:2] == ["register", "gates"]:
        return _keys(Rule)
    block: type[BaseModel] = Params
    for parent in parents:
        kinds = {(field.alias or name): field.annotation for name, field in block.model_fields.items()}
        kind = kinds.get(parent)
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        block = kind
    return _keys(block)


def _keys(block: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in block.model_fields.items()]
