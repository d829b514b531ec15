"""summary.json as Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ferops.errors import FeropsError
from ferops.orchestration import summary


def test_summary_markdown(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    content = {
        "stage": "evaluate",
        "provenance": {
            "data_version": "0123456789abcdef",
            "git_commit": "abcdef0123456789-dirty",
            "seed": 7,
            "synthetic": True,
            "params": {},
        },
        "macro_f1": 0.512345,
        "passed": True,
        "note": "a|b",
        "failed": [],
        "overrides": {},
        "best": None,
        "classes": ["anger", "happy"],
        "recall": {"anger": 0.1, "by_group": {"adult": None}},
        "accuracy": {"value": 0.75, "low": 0.7, "high": 0.8},
        "gates": [
            {"name": "floor", "passed": True},
            {"name": "slice", "found": {"value": 0.1, "low": 0.0, "high": 0.2}},
        ],
        "long": {f"key_{i}": i for i in range(60)},
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    text = summary.markdown(path)
    assert text.startswith(
        "## evaluate\n\ndata version `0123456789ab`, git commit `abcdef012345-dirty`, seed `7`. Synthetic"
    )
    for row in (
        "| macro f1 | 0.5123 |",
        "| passed | yes |",
        "| note | a\\|b |",
        "| failed | none |",
        "| overrides | none |",
        "| best | - |",
        "| classes | anger, happy |",
    ):
        assert row in text
    assert "| accuracy | 0.75 (0.7 to 0.8) |" in text
    assert "| name | passed | found |\n| --- | --- | --- |\n| floor | yes | - |\n| slice | - | 0.1 (0 to 0.2) |" in text
    assert "### recall\n\n| measure | value |\n|---|---|\n| anger | 0.1 |\n| by group / adult | - |" in text
    assert "| ... | 20 more in summary.json |" in text


def test_the_report_of_a_model_names_it(tmp_path: Path) -> None:
    path = tmp_path / "train" / "baseline" / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"stage": "train", "epochs": 8}', encoding="utf-8")
    assert summary.markdown(path) == "## train baseline\n\n| measure | value |\n|---|---|\n| epochs | 8 |\n"


def test_a_missing_summary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match=r"summary\.json does not exist"):
        summary.markdown(tmp_path / "summary.json")
