"""The closing lines of `make run`: what was trained, how it did, what the gates decided, what to do next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "registry"))  # for registry_project

from ferops import config
from ferops.datasets.versioning import folder_md5
from ferops.errors import FeropsError
from ferops.formats import NO_BREAK
from ferops.layout import Layout
from ferops.orchestration import run
from ferops.orchestration.outcome import Outcome
from ferops.orchestration.overview import PAGES, write_overview
from ferops.records.register import Gate, RegisterSummary
from ferops.records.train import TrainSummary
from ferops.records.validate import ValidateSummary
from ferops.registry.gates import evaluate_gates
from registry_project import PROVENANCE, RULES, changed, good_metrics, interval, params_tree, write_metrics
from trained import write_training


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A project whose evaluation is that of the registry's tests; validate and train left their summaries."""
    layout = Layout(tmp_path)
    tree = config.parse(params_tree()).model_dump(mode="json", by_alias=True)
    origin = PROVENANCE.model_copy(update={"params": tree})
    metrics = changed(
        good_metrics().model_copy(update={"provenance": origin}),
        end_to_end__n=410,
        end_to_end__accuracy=interval(0.78, 0.74, 0.82),
        end_to_end__no_face=interval(0.02, 0.01, 0.03),
    )
    write_metrics(layout, metrics)
    counts = {name: 0 for name, field in ValidateSummary.model_fields.items() if field.annotation is int}
    tables: dict[str, Any] = {"excluded_by_usage": {}, "excluded": {}, "quarantined": {}, "sources": {}}
    ValidateSummary(
        **counts | {"rows_in": 1516, "accepted": 1500},
        **tables | {"class_counts_in": {}, "class_counts": {}, "expectations": ()},
        provenance=PROVENANCE,
        quarantine_share=0.01,
        suspected_label_errors=None,
        label_review=None,
    ).write(layout.summary("validate"))
    layout.model("candidate").mkdir(parents=True)
    write_training(layout.model("candidate"), layout.reports("train") / "candidate", provenance=origin)
    settings = config.parse(params_tree()).registry
    _register(layout, evaluate_gates(metrics, settings), version="3")
    return layout


def _register(layout: Layout, gates: tuple[Gate, ...], *, version: str | None) -> None:
    RegisterSummary(
        provenance=PROVENANCE,
        version=version,
        alias="challenger" if version else None,
        model_uri=f"models:/ferops/{version}" if version else None,
        run_id="r" * 32,
        tracking_uri="sqlite:///mlflow.db",
        gates_passed=sum(gate.passed for gate in gates),
        gates_overridden=sum(gate.overridden is not None for gate in gates),
        gates_failed=sum(gate.blocks for gate in gates),
        failed={gate.name: gate.reason for gate in gates if gate.blocks},
        page="make up",
        promote=None,
        gates=gates,
    ).write(layout.summary("register"))


def test_a_passing_candidate_is_shown_with_what_to_do_next(layout: Layout) -> None:
    text = run.closing(Outcome.read(layout), overview=Path("reports/index.html")).replace(NO_BREAK, " ")
    assert "synthetic, version dddddddddd: 1,500 of 1,516 rows accepted" in text
    quick = config.parse(params_tree())
    assert f"Trained   resnet50 at {quick.preprocess.size_px} px" in text  # as its summary says
    assert "best epoch 3" in text
    assert "accuracy 80.0 (76.0 to 84.0) %, macro-F1 0.780 (0.730 to 0.820) on 400 faces" in text
    assert "chance 20.0 %" in text
    assert f"{len(RULES)} passed, 0 failed, 0 overridden" in text
    assert "models:/ferops/3, alias challenger" in text
    assert "end to end on 410 images 78.0 (74.0 to 82.0) %, no face found in 2.0 %" in text
    assert "nothing about real people" in text
    assert "make promote VERSION=3" in text


def test_an_ensemble_has_no_best_epoch(layout: Layout) -> None:
    tree = config.parse(params_tree()).model_dump(mode="json", by_alias=True)
    tree["export"]["model"] = "duo"
    origin = PROVENANCE.model_copy(update={"params": tree})
    write_metrics(layout, good_metrics().model_copy(update={"provenance": origin}))
    path = layout.reports("train") / "candidate" / "summary.json"
    trained = TrainSummary.read(path, made_by="ferops train")
    update = {"architecture": "ensemble of resnet18, vgg11", "epochs": 0, "best_epoch": 0}
    trained.model_copy(update=update).write(layout.summary("train/duo"))
    text = run.closing(Outcome.read(layout), overview=Path("reports/index.html"))
    assert "Trained   ensemble of resnet18, vgg11 at" in text
    assert "best epoch" not in text


def test_a_failing_candidate_is_shown_with_the_reason_and_no_promotion(layout: Layout) -> None:
    found = Gate(name="macro_f1", passed=False, observed=0.312, wanted="0.5", reason="found 0.312, wanted 0.500")
    waived = Gate(name="worst_slice", passed=False, observed=None, wanted="", reason="", overridden="no groups known")
    _register(layout, (found, waived), version=None)
    text = run.closing(Outcome.read(layout), overview=Path("reports/index.html"))
    assert "0 passed, 1 failed, 1 overridden" in text
    assert "macro_f1: found 0.312, wanted 0.500" in text
    assert "worst_slice overridden: no groups known" in text
    assert "no version" in text
    assert "promote" not in text


def _page(layout: Layout) -> str:
    return " ".join(write_overview(layout, Outcome.read(layout)).read_text(encoding="utf-8").split())


def test_the_overview_answers_first_and_links_what_exists(layout: Layout) -> None:
    page = layout.root / "reports" / "split" / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    html = _page(layout)
    assert f"Not for people.</span> It passed all {len(RULES)} gates, on rendered faces" in html
    assert "80.0 (76.0 to 84.0)" in html
    assert [name for name in PAGES if f'href="{name}"' in html] == ["split/index.html"]


def test_the_overview_of_a_model_of_photographs_says_yes(layout: Layout) -> None:
    tree = config.parse(params_tree()).model_dump(mode="json", by_alias=True)
    origin = PROVENANCE.model_copy(update={"params": tree, "synthetic": False})
    write_metrics(layout, good_metrics().model_copy(update={"provenance": origin}))
    html = _page(layout)
    assert f"Yes,</span> by all {len(RULES)} gates" in html
    assert "rendered" not in html


def test_the_overview_of_a_failed_candidate_says_no_and_why(layout: Layout) -> None:
    found = Gate(name="macro_f1", passed=False, observed=0.312, wanted="at least <0.5>", reason="found 0.312")
    _register(layout, (found,), version=None)
    html = _page(layout)
    assert "No.</span> 1 of 1 gates failed" in html
    assert "macro f1: found 0.312" in html
    assert "at least &lt;0.5&gt;" in html


def test_the_overview_says_why_a_gate_was_let_pass(layout: Layout) -> None:
    waived = Gate(name="worst_slice", passed=False, observed=None, wanted="", reason="", overridden="no groups known")
    _register(layout, (waived,), version="3")
    assert "Yes, with reservations.</span> 1 of 1 gates failed" in _page(layout)
    assert "worst slice: no groups known" in _page(layout)


def _data(root: Path) -> str:
    (root / "data").mkdir()
    (root / "data" / "synthetic.parquet").touch()
    return folder_md5(root / "data")


def test_data_of_another_version_than_data_dvc_names_are_not_used(tmp_path: Path) -> None:
    _data(tmp_path)
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\n")
    with pytest.raises(FeropsError, match=r"names 0000000000.*dvc pull data\.dvc.*dvc add data"):
        run.run(Layout(tmp_path))


def test_a_pipeline_that_stopped_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "data.dvc").write_text(f"outs:\n- md5: {_data(tmp_path)}.dir\n  path: data\n")
    with pytest.raises(FeropsError, match="the pipeline stopped"):
        run.run(Layout(tmp_path))


def test_without_data_and_without_a_version_to_pull_it_says_how_to_import(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="ferops import"):
        run.run(Layout(tmp_path))
