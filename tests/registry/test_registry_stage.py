from __future__ import annotations

import json
import shutil
import warnings

import mlflow
import numpy as np
import onnxruntime
import pytest
from mlflow import MlflowClient

from exports import change
from ferops import config
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import export_digest
from ferops.records.metrics import Metrics
from ferops.records.register import RegisterSummary
from ferops.registry.connection import connect, fluent
from ferops.registry.creation import _without_advice
from ferops.registry.stage import register
from ferops.registry.watch import training_run
from registry_project import GATES, PROVENANCE, changed, params_tree, write_metrics, write_probes


def failing(metrics: Metrics) -> Metrics:
    return changed(metrics, candidate__macro_f1__value=0.31)


def paths(client: MlflowClient, run_id: str, folder: str) -> set[str]:
    return {each.path for each in client.list_artifacts(run_id, folder)}


def test_a_passing_candidate_becomes_the_challenger(layout: Layout, params: Params, client: MlflowClient) -> None:
    with training_run(layout, params, "candidate", training="t" * 64):
        pass
    summary = register(layout, params)

    assert summary == RegisterSummary.read(layout.summary("register"), made_by="ferops register")
    assert summary.tracking_uri == "sqlite:///mlflow.db"
    assert (summary.version, summary.gates_passed, summary.gates_failed) == ("1", len(GATES), 0)
    version = client.get_model_version_by_alias("ferops", "challenger")
    assert str(version.version) == "1"
    assert version.run_id == summary.run_id
    assert version.tags["accuracy"] == "0.8000"
    assert version.tags["git_commit"] == "c" * 40
    assert version.tags["digest"] == export_digest(layout.exported)
    assert version.description == "# The card\n\nTrained on rendered faces."
    # A person decides about the champion, the first one too
    assert list(client.get_registered_model("ferops").aliases) == ["challenger"]

    run = client.get_run(summary.run_id)
    assert run.info.run_name == "candidate"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/candidate/accuracy"] == 0.80
    assert run.data.metrics["test/candidate_minus_baseline/accuracy/low"] == 0.01
    assert run.data.tags["gates"] == "passed"
    assert all(f"| {name} |" in run.data.tags["mlflow.note.content"] for name in GATES)
    logged = paths(client, summary.run_id, "evaluate")
    assert {f"evaluate/{name}" for name in ("report.html", "model_card.md", "metrics.json", "gates.json")} <= logged


def test_robustness_and_fairness_are_asked_and_logged(layout: Layout, client: MlflowClient) -> None:
    tree = params_tree()
    tree["register"]["gates"] = {
        "mirrored": {"metric": "robustness.passed_mirrored", "reference": "absolute", "at_least": 0.9},
        "worst_group": {"metric": "fairness.worst_group_accuracy", "reference": "absolute", "at_least": 0.6},
    }
    write_probes(layout, passed_mirrored=0.85)
    summary = register(layout, config.parse(tree))
    assert set(summary.failed) == {"mirrored"}
    assert summary.version is None
    run = client.get_run(summary.run_id)
    assert run.data.metrics["robustness/passed_mirrored"] == 0.85
    assert run.data.metrics["fairness/worst_group_accuracy"] == 0.7
    assert run.data.metrics["fairness/behind"] == 0
    assert run.data.tags["robustness.faces"] == "120"
    assert "robustness/faces" not in run.data.metrics
    assert {"robustness/index.html", "robustness/metrics.json"} <= paths(client, summary.run_id, "robustness")
    assert "fairness/index.html" in paths(client, summary.run_id, "fairness")


def test_what_robustness_found_on_another_split_does_not_count(layout: Layout, params: Params) -> None:
    write_probes(layout, made_from=PROVENANCE.model_copy(update={"split_hash": "another"}))
    with pytest.raises(FeropsError, match=r"reports/robustness is about the split another .*dvc repro"):
        register(layout, params)


def test_the_version_answers_as_the_exported_file_does(registered: Layout) -> None:
    layout, client = registered, connect(registered)
    summary = RegisterSummary.read(layout.summary("register"), made_by="ferops register")
    faces = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(layout.exported / "model-int8.onnx", providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"faces": faces})[0].astype(np.float64) / 1.5  # the temperature in config.json
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    with fluent(client):
        model = mlflow.pyfunc.load_model(summary.model_uri)
    found = model.predict(faces)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, shifted / shifted.sum(axis=1, keepdims=True), atol=1e-3)
    with pytest.raises(mlflow.exceptions.MlflowException, match="schema"):
        model.predict(faces.astype(np.float32))


def test_a_version_has_the_figures_of_its_run_but_no_curves(registered: Layout) -> None:
    client = connect(registered)
    version = client.get_model_version("ferops", "1")
    model = client.get_logged_model(str(version.source).removeprefix("models:/"))
    run = client.get_run(str(version.run_id))
    figures = {each.key: each.value for each in model.metrics}
    assert figures["test/candidate/accuracy"] == 0.80
    assert figures["best_val_accuracy"] == 0.61
    assert run.data.metrics.items() > figures.items()
    assert "train_loss" in run.data.metrics.keys() - figures.keys()
    assert (model.source_run_id, str(model.status)) == (version.run_id, "READY")
    assert [each.model_id for each in run.outputs.model_outputs] == [model.model_id]


def test_a_comparison_with_a_former_champion_does_not_count(version_1: Layout, params: Params) -> None:
    layout, client = version_1, connect(version_1)
    client.set_registered_model_alias("ferops", "champion", "1")
    with pytest.raises(
        FeropsError, match=r"compared with no champion, but 'ferops' now has champion 1.*--force evaluate"
    ):
        register(layout, params)


def test_nothing_in_a_version_is_pickled(registered: Layout) -> None:
    layout, client = registered, connect(registered)
    summary = RegisterSummary.read(layout.summary("register"), made_by="ferops register")
    with fluent(client):
        folder = mlflow.artifacts.download_artifacts(summary.model_uri, dst_path=str(layout.root / "copy"))
    names = {path.name for path in (layout.root / "copy").rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc.py", "model-int8.onnx", "config.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt"))], folder


def test_registering_again_makes_no_second_version(version_1: Layout, params: Params) -> None:
    layout, client = version_1, connect(version_1)
    first = RegisterSummary.read(layout.summary("register"), made_by="ferops register")
    config = json.loads((layout.exported / "config.json").read_text())
    config["provenance"]["git_commit"] = "a later commit, the same weights"
    (layout.exported / "config.json").write_text(json.dumps(config))
    second = register(layout, params)
    assert (second.version, second.run_id) == (first.version, first.run_id)
    assert len(client.search_model_versions("name = 'ferops'")) == 1


def test_other_weights_make_the_next_version(version_1: Layout, params: Params) -> None:
    layout, client = version_1, connect(version_1)
    config = json.loads((layout.exported / "config.json").read_text()) | {"temperature": 2.0}
    (layout.exported / "config.json").write_text(json.dumps(config))
    assert register(layout, params).version == "2"
    assert str(client.get_model_version_by_alias("ferops", "challenger").version) == "2"


def test_a_failing_candidate_is_logged_with_the_reason(
    layout: Layout, params: Params, client: MlflowClient, metrics: Metrics
) -> None:
    write_metrics(layout, failing(metrics))
    summary = register(layout, params)
    assert (summary.version, summary.alias, summary.gates_failed) == (None, None, 1)
    assert summary.failed == {"macro_f1": "found 0.310, wanted macro-F1 of at least 0.500"}
    assert client.search_registered_models() == []
    tags = client.get_run(summary.run_id).data.tags
    assert tags["gates"] == "failed"
    assert tags["gate.macro_f1"].startswith("failed: found 0.310")


def test_an_overridden_gate_lets_through_and_is_recorded(
    layout: Layout, params: Params, client: MlflowClient, metrics: Metrics
) -> None:
    write_metrics(layout, failing(metrics))
    settings = params.registry.model_copy(update={"overrides": {"macro_f1": "a demonstration"}})
    summary = register(layout, params.model_copy(update={"registry": settings}))
    assert (summary.version, summary.gates_failed, summary.gates_overridden) == ("1", 0, 1)
    assert client.get_model_version("ferops", "1").tags["gates"] == "overridden"
    assert "overridden: a demonstration" in client.get_run(summary.run_id).data.tags["gate.macro_f1"]


def test_a_version_that_fails_later_is_no_challenger_any_more(
    version_1: Layout, params: Params, metrics: Metrics
) -> None:
    layout, client = version_1, connect(version_1)
    write_metrics(layout, failing(metrics))
    assert register(layout, params).version is None
    assert client.get_registered_model("ferops").aliases == {}
    assert client.get_model_version("ferops", "1").tags["gates"] == "failed"


def test_weights_from_another_machine_get_a_run_from_their_history(registered: Layout, params: Params) -> None:
    layout, client = registered, connect(registered)
    run_id = RegisterSummary.read(layout.summary("register"), made_by="ferops register").run_id
    run = client.get_run(run_id)
    assert run.data.tags["ferops.restored"] == "true"
    assert "env.cpu" not in run.data.tags  # not this machine's: it trained nothing
    curve = client.get_metric_history(run_id, "val_accuracy")
    assert {each.step: each.value for each in curve} == pytest.approx({1: 0.2, 2: 0.5, 3: 0.6})
    assert register(layout, params).run_id == run_id


MEMBER = {"architecture": "resnet18", "mean": (0.5,) * 3, "std": (0.5,) * 3, "parameters": 4}
MEMBER |= {"grayscale": False, "temperature": 1.2}


MADE_OF = {"ensemble": ("members", MEMBER), "soup": ("ingredients", {})}


@pytest.mark.parametrize("verb", MADE_OF)
def test_one_made_of_several_gets_a_run_that_says_how(
    verb: str, layout: Layout, params: Params, client: MlflowClient
) -> None:
    parts, fields = MADE_OF[verb]
    shutil.copytree(layout.model("candidate"), layout.model("duo"))
    shutil.copytree(layout.reports("train") / "candidate", layout.reports("train") / "duo")
    fields = {"sha256": "0" * 64, "pretrained": None, "teacher": None, **fields}
    change(layout.model("duo"), **{parts: [fields | {"name": name} for name in ("one", "two")]})
    (layout.model("duo") / "history.json").write_text("[]")
    chosen = params.model_copy(update={"export": params.export.model_copy(update={"model": "duo"})})
    run = client.get_run(register(layout, chosen).run_id)
    assert run.info.run_name == "duo"
    assert run.data.tags["mlflow.source.name"] == f"ferops {verb} duo one two"
    assert "ferops.restored" not in run.data.tags
    assert "val_accuracy" not in run.data.metrics
    assert run.data.metrics["best_val_accuracy"] == 0.61


def test_an_adjusted_one_gets_a_run_that_says_how(layout: Layout, params: Params, client: MlflowClient) -> None:
    shutil.copytree(layout.model("candidate"), layout.model("fair"))
    shutil.copytree(layout.reports("train") / "candidate", layout.reports("train") / "fair")
    change(layout.model("fair"), adjusted={"name": "candidate", "sha256": "0" * 64, "share": 0.3})
    (layout.model("fair") / "history.json").write_text("[]")
    chosen = params.model_copy(update={"export": params.export.model_copy(update={"model": "fair"})})
    run = client.get_run(register(layout, chosen).run_id)
    assert run.data.tags["mlflow.source.name"] == "ferops adjust candidate --share 0.3 --name fair"
    assert "ferops.restored" not in run.data.tags


def test_register_needs_the_evaluation(layout: Layout, params: Params) -> None:
    (layout.artifacts("evaluate") / "metrics.json").unlink()
    with pytest.raises(FeropsError, match=r"metrics\.json does not exist.*ferops evaluate"):
        register(layout, params)


def warn_twice() -> None:
    with _without_advice():
        warnings.warn("An input example was not provided", UserWarning, stacklevel=1)
        warnings.warn("the disk is on fire", UserWarning, stacklevel=1)


def test_only_needless_warnings_are_kept_back() -> None:
    with pytest.warns(UserWarning, match="fire") as shown:
        warn_twice()
    assert len(shown) == 1
