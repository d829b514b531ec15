"""The model card's first block, by which the Hugging Face hub finds, lists and compares models."""

from __future__ import annotations

from ferops.model_config import ExportConfig
from ferops.records.metrics import Metrics

_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0", "cc0-1.0")
"""Identifiers of the hub that our sources use, the SPDX ones in lower case; all else is `other`, with its name."""


def metadata(metrics: Metrics, config: ExportConfig) -> str:
    """Return the block as YAML between `---` lines, with the figures of the test split as a model index."""
    from huggingface_hub import EvalResult, ModelCardData

    origin, candidate = metrics.provenance, metrics.candidate
    licence = config.licence.lower()
    known = licence in _LICENCES
    figures = {
        ("accuracy", "Accuracy"): candidate.accuracy.value,
        ("f1", "Macro-F1"): candidate.macro_f1.value,
        ("accuracy", "Accuracy end to end, no face counted as wrong"): metrics.end_to_end.accuracy.value,
    }
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Facial expression recognition",
            dataset_type="+".join(origin.sources),
            dataset_name=", ".join(origin.sources) + (" (rendered faces)" if origin.synthetic else ""),
            dataset_split="test",
            dataset_revision=origin.data_version,
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for (kind, name), value in figures.items()
        if value is not None
    ]
    tags = ["facial-expression-recognition", "onnx", config.architecture]
    data = ModelCardData(
        license=licence if known else "other",
        license_name=None if known else config.licence,
        model_name=origin.params["register"]["model_name"],
        library_name="ferops",
        pipeline_tag="image-classification",
        tags=[*tags, "synthetic-data"] if origin.synthetic else tags,
        metrics=["accuracy", "f1"],
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"
