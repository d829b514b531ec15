"""The stage `export`: the candidate's weights -> the files that are evaluated and served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import FaceSettings, Params, Tta
from ferops.errors import FeropsError
from ferops.export import files, latency
from ferops.export.calibration import probabilities
from ferops.export.conformal import set_threshold
from ferops.export.runtime import Classifier
from ferops.export.temperature import fit_temperature
from ferops.files import atomic_folder
from ferops.layout import Layout
from ferops.machine import cpu_name
from ferops.model_config import FP32_FILE, INT8_FILE, ExportConfig, ModelConfig
from ferops.provenance import provenance
from ferops.records.export import ExportSummary, Parity
from ferops.tables import read_array
from ferops.training import data, model
from ferops.training.faces import Faces

FP32_TOLERANCE = 0.05
"""Largest accepted logit difference of the FP32 file. Rounding stays near 1e-4, a GPU's TF32 near 1e-2."""


def export(layout: Layout, params: Params) -> ExportSummary:
    """Write artifacts/export and reports/export from artifacts/train/<export.model>.

    Both files run on the validation split as in the service, and their logits are compared with those of the trained
    weights. The temperature is fitted on what the service will answer: the served file, with `export.tta`.

    Returns:
        The summary, as in reports/export/summary.json.

    Raises:
        FeropsError: inputs are missing or do not match, the FP32 file's logits differ from those of the weights, or
            the INT8 file is to be served and changes more predicted classes than export.max_disagreement.
    """
    net, trained_config = model.load(layout.model(params.export.model))
    validation = data.read_faces(layout, "val")
    trained = _trained_logits(layout, params.export.model, validation)
    with atomic_folder(layout.exported) as folder:
        files.write_onnx(net, folder / FP32_FILE)
        files.write_int8(folder / FP32_FILE, folder / INT8_FILE, _calibration_faces(layout, params))
        logits = {name: _logits(folder, name, trained_config, params, validation) for name in (FP32_FILE, INT8_FILE)}
        parity = {name: compare(trained, found, validation.labels) for name, found in logits.items()}
        _accept(parity, params)
        served = INT8_FILE if params.export.serve == "int8" else FP32_FILE
        if params.export.tta != "off":
            logits[served] = _logits(folder, served, trained_config, params, validation, tta=params.export.tta)
        temperature = fit_temperature(logits[served], validation.labels, data.read_sources(layout, "val"))
        threshold = set_threshold(probabilities(logits[served], temperature), validation.labels, params.export.coverage)
        sets = {"coverage": params.export.coverage, "set_threshold": threshold}
        _write_config(folder, _config(trained_config, params, served, temperature).model_copy(update=sets))
        summary = ExportSummary(
            provenance=provenance(layout, params),
            served=served,
            size_mb={name: (folder / name).stat().st_size / 1e6 for name in (FP32_FILE, INT8_FILE)},
            validation_images=len(validation),
            parity=parity,
            tta=params.export.tta,
            temperature=temperature,
            cpu=cpu_name(),
            speed=latency.table(net, folder / FP32_FILE, folder / INT8_FILE),
        )
    with atomic_folder(layout.reports("export")) as folder:
        summary.write(folder / "summary.json")
    return summary


def compare(trained: NDArray[np.float32], exported: NDArray[np.float32], labels: NDArray[np.int64]) -> Parity:
    """Compare two sets of logits `(N, K)` on the same faces."""
    before, after = trained.argmax(axis=1), exported.argmax(axis=1)
    accuracy = float((after == labels).mean())
    return Parity(
        max_abs_difference=float(np.abs(trained - exported).max()),
        changed_share=float((before != after).mean()),
        accuracy=accuracy,
        accuracy_difference=accuracy - float((before == labels).mean()),
    )


def _accept(parity: dict[str, Parity], params: Params) -> None:
    difference = parity[FP32_FILE].max_abs_difference
    if not difference <= FP32_TOLERANCE:  # NaN is refused too
        raise FeropsError(
            f"the FP32 export's logits differ by up to {difference:.3g} from those of the trained weights (accepted: "
            f"{FP32_TOLERANCE}). Make {params.export.model} again: ferops train, or ferops ensemble"
        )
    changed = parity[INT8_FILE].changed_share
    if params.export.serve == "int8" and changed > params.export.max_disagreement:
        raise FeropsError(
            f"the INT8 file changes the predicted class of {changed:.1%} of the validation faces; "
            f"export.max_disagreement is {params.export.max_disagreement:.1%}. Set export.serve: fp32, or raise "
            "export.calibration_images or export.max_disagreement"
        )


def _trained_logits(layout: Layout, name: str, validation: Faces) -> NDArray[np.float32]:
    path = layout.model(name) / "val_logits.npy"
    logits: NDArray[np.float32] = read_array(path, made_by=f"ferops train {name}")
    if len(logits) != len(validation):
        raise FeropsError(
            f"{path} has {len(logits)} rows, but there are {len(validation)} validation faces: the model was "
            "trained on another split. Run: dvc repro"
        )
    return logits


def _calibration_faces(layout: Layout, params: Params) -> NDArray[np.uint8]:
    """Return training faces of all sources alike, so that the ranges fit the rarer kind as well."""
    faces, sources = data.read_faces(layout, "train"), data.read_sources(layout, "train")
    order = np.random.default_rng(params.seed).permutation(len(faces))
    turn = pd.Series(sources[order]).groupby(sources[order]).cumcount()  # 0 is the first face of each source
    rows = order[np.argsort(turn, kind="stable")][: params.export.calibration_images]
    return np.asarray(faces.images[np.sort(rows)])


def _logits(
    folder: Path, served: str, trained: ModelConfig, params: Params, validation: Faces, *, tta: Tta = "off"
) -> NDArray[np.float32]:
    """Run one file exactly as the service would: through a Classifier, with a config that serves it."""
    _write_config(folder, _config(trained, params, served, temperature=1.0))
    return Classifier(folder, tta=tta).logits(validation.images)


def _config(trained: ModelConfig, params: Params, served: str, temperature: float) -> ExportConfig:
    return ExportConfig.model_validate(
        trained.model_dump()
        | {
            "temperature": temperature,
            **params.preprocess.model_dump(include=set(FaceSettings.model_fields) - {"size_px"}),
            "served": served,
            "tta": params.export.tta,
            "low_confidence": params.evaluate.low_confidence,
        }
    )


def _write_config(folder: Path, config: ExportConfig) -> None:
    config.write(folder / "config.json")
