"""The tables of figures in README.md and docs/ are those of docs/figures.json, and CI sees when a run disagrees."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from docs import figures, measured
from docs.figures import BLOCK, PAGES, Metrics, Run, Runs, differences, pages

QUICK = Runs.read().of("quick")[-1].metrics
LOW = QUICK.candidate.accuracy.low or 0.0


def _interval(low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": low, "low": low, "high": high, "reason": None if low else "no faces"}


def test_the_pages_have_the_figures_of_their_files() -> None:
    for page, text in pages(Runs.read()).items():
        assert page.read_text(encoding="utf-8") == text, f"{page.name} differs from its files: {figures.COMMAND}"


QUOTING = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", QUOTING, ids=lambda page: page.stem)
def test_an_edited_figure_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        figure = re.search(r"(?<=[| ])\d[\d.,]+", block[0])
        assert figure
        at = block.start() + figure.start()
        edited = tmp_path / page.name
        edited.write_text(f"{text[:at]}9{text[at:]}", encoding="utf-8")
        monkeypatch.setattr(figures, "PAGES", (edited,))
        assert pages(Runs.read())[edited] == text


def test_every_run_that_is_kept_is_quoted() -> None:
    quoted = {found["name"] for page in QUOTING for found in BLOCK.finditer(page.read_text(encoding="utf-8"))}
    assert {path.stem for path in measured.RESULTS.glob("*.json")} <= quoted


@pytest.mark.parametrize(
    ("part", "change", "wrong"),
    [
        ("candidate", {"accuracy": _interval(LOW - 0.05, LOW + 0.01)}, []),  # reaches into the quoted interval
        ("candidate", {"accuracy": _interval(LOW - 0.2, LOW - 0.1)}, [f"accuracy: {LOW}"]),
        ("candidate", {"macro_f1": _interval(None, None)}, [f"macro_f1: {QUICK.candidate.macro_f1.low}"]),
        ("provenance", {"data_version": "0123"}, ["data version: fa507edde2"]),
        ("provenance", {"git_commit": "0123"}, []),
        (None, {"n": 1302}, ["faces: 302 is quoted, this run has 1,302"]),
    ],
)
def test_a_run_that_disagrees_is_named(part: str | None, change: dict[str, Any], wrong: list[str]) -> None:
    tree = QUICK.model_dump()
    (tree[part] if part else tree).update(change)
    found = differences(QUICK, Metrics.model_validate(tree))
    assert len(found) == len(wrong)
    assert all(text.startswith(start) for text, start in zip(found, wrong, strict=True))


def test_a_run_is_taken_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quoted = Runs.read().of("quick")[-1]
    changed = quoted.model_dump(mode="json")
    changed["metrics"]["candidate"]["accuracy"]["value"] = 0.1234
    run = Run.model_validate(changed)
    (tmp_path / "artifacts" / "evaluate").mkdir(parents=True)
    (tmp_path / "artifacts" / "evaluate" / "metrics.json").write_text(run.metrics.model_dump_json(), encoding="utf-8")
    epoch = dict.fromkeys(
        ("train_loss", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate", "images_per_s", "peak_memory_mb"),
        1.0,
    )
    for name, training in run.training.items():
        report, model = tmp_path / "reports" / "train" / name, tmp_path / "artifacts" / "train" / name
        report.mkdir(parents=True)
        model.mkdir(parents=True)
        (report / "summary.json").write_text(training.model_dump_json(), encoding="utf-8")
        rows = [f'{{"epoch": {n}, "seconds": 45.0, {str(epoch)[1:-1]}}}'.replace("'", '"') for n in (1, 2)]
        (model / "history.json").write_text(f"[{','.join(rows)}]", encoding="utf-8")
    quoting = (figures.ROOT / "README.md", figures.DOCS / "results.md")
    copies = tuple(tmp_path / page.name for page in quoting)
    for page, copy in zip(quoting, copies, strict=True):
        shutil.copy(page, copy)
    shutil.copy(figures.QUOTED, tmp_path)
    monkeypatch.setattr(figures, "QUOTED", tmp_path / "figures.json")
    monkeypatch.setattr(figures, "PAGES", copies)

    monkeypatch.setattr(sys, "argv", ["figures.py", "--project", str(tmp_path), "--check"])
    assert figures.main() == 0
    assert "agree" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["figures.py", "--project", str(tmp_path)])
    assert figures.main() == 0
    readme = copies[0].read_text(encoding="utf-8")
    assert " 12.3 % (" in readme
    assert "candidate 1 min 30 s" in readme
    before = f" {100 * quoted.metrics.candidate.accuracy.value:.1f} % ("
    assert before not in readme
    assert before in copies[1].read_text(encoding="utf-8")  # the earlier run stays in the list of runs
