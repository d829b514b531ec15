"""A project as the stages before `register` leave it, with a tiny ONNX file and an MLflow store of its own."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import ViewType
from onnx import TensorProto, helper, numpy_helper
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from evaluation_project import evaluated
from ferops import presets
from ferops.classes import DEFAULT_CLASSES
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig
from ferops.records import Provenance
from ferops.records.fairness import FairnessFigures, FairnessSummary
from ferops.records.metrics import Difference, Interval, Metrics, Slice, UncomparedChampion
from ferops.records.robustness import RobustnessFigures, RobustnessSummary
from ferops.registry.connection import EXPERIMENT
from ferops.registry.creation import PENDING_TAG
from ferops.registry.tracking import MAKER_TAG
from trained import write_training

SIZE_PX = 32
RULES = ("enough_samples", "beats_chance", "macro_f1", "baseline", "champion", "calibration", "worst_slice")
GATES = (*RULES, "policy")

PROVENANCE = Provenance(
    data_version="d" * 32,
    split_hash="5" * 16,
    git_commit="c" * 40,
    preset="quick",
    seed=7,
    sources=("synthetic",),
    synthetic=True,
    ferops_version="0.1.0",
    params={},
)


def interval(value: float | None, low: float | None = None, high: float | None = None) -> Interval:
    return Interval(value=value, low=low, high=high)


def people(column: str, value: str, n: int, accuracy: float | None, *, small: bool = False, **more: Any) -> Slice:
    """A group of people, or with `kind` another slice."""
    fields = {"kind": "people", "n_no_face": 0} | more
    unused = {"clusters": n, "macro_f1": interval(0.7), "accuracy_minus_whole": interval(0.0)}
    return Slice(column=column, value=value, n=n, accuracy=interval(accuracy), small=small, **fields | unused)


@functools.cache
def good_metrics() -> Metrics:
    """The metrics.json that `evaluate` wrote, with figures that are round and pass the gates of `params_tree`."""
    made = evaluated().metrics.model_copy(
        update={
            "provenance": PROVENANCE,
            "export_digest": None,  # tests put other exports beside it
            "slices": (
                people("source", "synthetic", 400, 0.80, kind="source"),
                people("group_age", "old", 90, 0.70),
                people("group_age", "young", 305, 0.83),
                people("group_glasses", "yes", 5, 0.10, small=True),
            ),
        }
    )
    return changed(
        made,
        n=400,
        candidate__accuracy=interval(0.80, 0.76, 0.84),
        candidate__macro_f1=interval(0.78, 0.73, 0.82),
        candidate__calibration_error=interval(0.05, 0.03, 0.09),
        chance__accuracy=0.20,
        chance__uniform_accuracy=0.1667,
        candidate_minus_baseline__accuracy=interval(0.05, 0.01, 0.09),
    )


def changed(metrics: Metrics, **figures: Any) -> Metrics:
    """Return `metrics` with other values, by their path: `candidate__accuracy__low=0.7, slices__1__n=3`."""
    tree = metrics.model_dump()
    for path, value in figures.items():
        node: Any = tree
        *parents, last = [int(key) if key.isdigit() else key for key in path.split("__")]
        for key in parents:
            if isinstance(node[key], tuple):
                node[key] = list(node[key])
            node = node[key]
        node[last] = value
    return Metrics.model_validate(tree)


def against_champion(metrics: Metrics, *, low: float | None) -> Metrics:
    """Return `metrics` with a champion, and the lower bound of the candidate's difference to it."""
    champion = UncomparedChampion(
        version="1", own_classes=DEFAULT_CLASSES, split_hash="5" * 16, same_split=True, notes=()
    )
    difference = Difference(accuracy=interval(0.0, low, 0.02), macro_f1=interval(0.0))
    return metrics.model_copy(update={"champion": champion, "candidate_minus_champion": difference})


def make_project(layout: Layout) -> None:
    layout.root.mkdir(parents=True)
    layout.data_dvc.write_text(f"outs:\n- md5: {'d' * 32}.dir\n  path: data\n")
    layout.assignment.parent.mkdir(parents=True)
    pd.DataFrame({"image_id": ["a", "b"], "split": ["train", "test"]}).to_parquet(layout.assignment)
    made_from = PROVENANCE.model_copy(update={"params": params_tree()})
    for name in ("baseline", "candidate"):
        make_trained(layout, name, made_from=made_from)
    make_export(layout.exported)
    write_metrics(layout, good_metrics())
    answered = evaluated().layout.artifacts("evaluate") / "end_to_end.parquet"
    shutil.copyfile(answered, layout.artifacts("evaluate") / answered.name)
    reports = layout.reports("evaluate")
    reports.mkdir(parents=True)
    (reports / "report.html").write_text("<h1>Report</h1>")
    (reports / "model_card.md").write_text("---\nlicense: apache-2.0\n---\n# The card\n\nTrained on rendered faces.\n")


def write_metrics(layout: Layout, metrics: Metrics) -> None:
    metrics.write(layout.artifacts("evaluate") / "metrics.json")


def write_probes(layout: Layout, *, made_from: Provenance = PROVENANCE, **figures: float) -> None:
    """What `robustness` and `fairness` leave; `figures` are those of robustness/metrics.json beyond the fixed ones."""
    for stage in ("robustness", "fairness"):
        layout.reports(stage).mkdir(parents=True)
        (layout.reports(stage) / "index.html").write_text(f"<h1>{stage}</h1>")
    none = interval(None)
    RobustnessSummary(
        provenance=made_from,
        model="resnet50",
        verdict="",
        test_faces=400,
        faces=120,
        images=60,
        within_seconds=True,
        clean=interval(0.8),
        baseline_clean=0.7,
        corrupted=interval(0.6),
        loss=interval(0.2),
        met=none,
        mean_corruption_error=none,
        relative_mean_corruption_error=none,
        worst=(),
        curves=(),
        behaviours=(),
        seconds=1.0,
    ).write(layout.summary("robustness"))
    fixed = {"clean_accuracy": 0.8, "corrupted_accuracy": 0.6, "met_accuracy": None, "mean_corruption_error": None}
    RobustnessFigures(**fixed, faces=120, images=60, **figures).write(layout.reports("robustness") / "metrics.json")
    FairnessSummary(
        provenance=made_from,
        model="resnet50",
        verdict="",
        test_images=400,
        min_images=20,
        attributes=(),
        groups=(),
        crossings=(),
        small_crossings=0,
        worst=None,
        changes=(),
        unlabelled=(),
        without_annotations=(),
        within_seconds=True,
        seconds=1.0,
    ).write(layout.summary("fairness"))
    unknown = dict.fromkeys(FairnessFigures.model_fields) | {"worst_group_accuracy": 0.7, "behind": 0}
    FairnessFigures.model_validate(unknown).write(layout.reports("fairness") / "metrics.json")


def make_export(folder: Path) -> None:
    """A linear ONNX model of the mean colour: input `faces` uint8 (N, S, S, 3), output `logits` float32 (N, 6)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weight = np.linspace(-1, 1, 18, dtype=np.float32).reshape(3, 6) / 100
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["faces"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "weight"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", SIZE_PX, SIZE_PX, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 6])],
        [
            numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "axes"),
            numpy_helper.from_array(weight, "weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    shutil.copy(folder / "model.onnx", folder / "model-int8.onnx")
    settings = ExportConfig(
        **MODEL | {"temperature": 1.5, "parameters": 18, "provenance": PROVENANCE},
        served="model-int8.onnx",
        min_confidence=0.9,
        margin=0.1,
        choose="largest",
        low_confidence=0.5,
    )
    (folder / "config.json").write_text(settings.model_dump_json())


MODEL: dict[str, Any] = {
    "architecture": "resnet50",
    "classes": DEFAULT_CLASSES,
    "size_px": SIZE_PX,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "licence": "Apache-2.0",
}


def make_other(layout: Layout, number: int) -> None:
    """Make a project whose weights and exported files are not those of another number's."""
    make_project(layout)
    save_file({"weight": np.full(4, 100 + number, dtype=np.float32)}, layout.model("candidate") / "weights.safetensors")
    renew(layout, temperature=1 + number / 100)


def renew(layout: Layout, *, temperature: float) -> None:
    """Make the exported files other ones."""
    path = layout.exported / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": temperature}))


def params_tree() -> dict[str, Any]:
    tree: dict[str, Any] = YAML(typ="safe").load(presets.render("quick"))
    # Bounds of the tests' own: what a preset asks for may change
    bounds: dict[str, dict[str, float]] = {
        "enough_samples": {"at_least": 100},
        "beats_chance": {"above": 0.0},
        "macro_f1": {"at_least": 0.50},
        "baseline": {"at_least": -0.05},
        "champion": {"at_least": -0.02},
        "calibration": {"at_most": 0.15},
        "worst_slice": {"at_least": -0.25},
    }
    for name, bound in bounds.items():
        tree["register"]["gates"][name] |= bound
    return tree


def make_trained(layout: Layout, name: str, *, made_from: Provenance) -> None:
    folder, reports = layout.model(name), layout.reports("train") / name
    folder.mkdir(parents=True, exist_ok=True)
    reports.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.full(4, len(name), dtype=np.float32)}, folder / "weights.safetensors")
    settings = ModelConfig(**MODEL, parameters=4, provenance=made_from)
    (folder / "config.json").write_text(settings.model_dump_json())
    (reports / "curves.png").write_bytes(b"\x89PNG")
    write_training(folder, reports, provenance=made_from)


def nothing_left(client: MlflowClient, *, versions: int = 1, trained: int = 1) -> None:
    """Finished runs of `trained` models, `versions` whole versions with files each, and no trace of what was begun."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
    assert [each.info.status for each in runs] == ["FINISHED"] * len(runs)
    assert not [each for each in runs if MAKER_TAG in each.data.tags]
    assert len({each.data.tags["ferops.weights"] for each in runs}) == trained
    found = client.search_model_versions("name = 'ferops'")
    assert len(found) == versions
    assert not [each for each in found if PENDING_TAG in each.tags]
    models = client.search_logged_models([experiment.experiment_id])
    assert {f"models:/{each.model_id}" for each in models} == {each.source for each in found}
    assert [str(each.status) for each in models] == ["READY"] * versions
    assert not [each for each in models if MAKER_TAG in each.tags]
