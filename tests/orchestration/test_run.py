"""The closing lines of `make run`: what was trained, how it did, what the gates decided, what to do next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ferops.datasets.versioning import folder_md5
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.orchestration import run


def _score(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    origin = {
        "data_version": "0123456789abcdef",
        "sources": ["synthetic"],
        "synthetic": True,
        "params": {
            "models": {"baseline": {"architecture": "resnet18"}, "candidate": {"architecture": "resnet50"}},
            "preprocess": {"size_px": 64},
            "register": {"model_name": "ferops"},
        },
    }
    metrics = {
        "provenance": origin,
        "n": 1234,
        "n_tight": 0,
        "n_unfound": 0,
        "candidate": {"accuracy": _score(0.8), "macro_f1": _score(0.75)},
        "baseline": {"accuracy": _score(0.7)},
        "chance": {"accuracy": 0.25},
        "cost": {"parameters": 23_500_000},
    }
    _write(layout.artifacts("evaluate") / "metrics.json", metrics)
    _write(layout.summary("validate"), {"rows_in": 1516, "accepted": 1500})
    _write(layout.reports("train") / "candidate" / "summary.json", {"best_epoch": 7})
    _write(layout.summary("register"), _registered(version="3", failed={}))
    return layout


def _registered(*, version: str | None, failed: dict[str, str]) -> dict[str, Any]:
    return {
        "version": version,
        "alias": "challenger" if version else None,
        "gates_passed": 7 - len(failed),
        "gates_failed": len(failed),
        "gates_overridden": 0,
        "failed": failed,
        "gates": [
            {"name": "worst_slice", "overridden": "no groups are known"},
            {"name": "macro_f1", "overridden": None},
        ],
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_passing_candidate_is_told_with_what_to_do_next(layout: Layout) -> None:
    text = run.closing(layout)
    assert "synthetic, version 0123456789: 1,500 of 1,516 rows accepted" in text
    assert "resnet50 at 64 px (23.5 M parameters, best epoch 7), baseline resnet18" in text
    assert "accuracy 80.0 % (75.0 % to 85.0 %), macro-F1 75.0 % (70.0 % to 80.0 %) on 1,234 faces" in text
    assert "baseline 70.0 %, chance 25.0 %" in text
    assert "7 passed, 0 failed, 0 overridden" in text
    assert "worst_slice overridden: no groups are known" in text
    assert "macro_f1 overridden" not in text
    assert "ferops version 3, alias challenger" in text
    assert "nothing about real people" in text
    assert "make promote VERSION=3" in text


def test_a_failing_candidate_is_told_why_and_offers_no_promotion(layout: Layout) -> None:
    _write(layout.summary("register"), _registered(version=None, failed={"macro_f1": "found 0.312, wanted 0.500"}))
    text = run.closing(layout)
    assert "6 passed, 1 failed" in text
    assert "macro_f1: found 0.312, wanted 0.500" in text
    assert "no version" in text
    assert "promote" not in text


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
