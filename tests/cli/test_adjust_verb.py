"""`ferops adjust`: a table to choose by, then the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from blobs import make_project, params_tree
from ferops.cli import app
from ferops.layout import Layout
from taught import write_taught


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    layout = make_project(tmp_path)
    write_taught(layout, "one")
    layout.params_file.write_text(yaml.safe_dump(params_tree()))
    monkeypatch.chdir(tmp_path)
    return layout


def adjust(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["adjust", *arguments])


def test_without_a_share_it_says_what_some_give(layout: Layout) -> None:
    before = sorted(layout.root.rglob("*"))
    found = adjust("one")
    first, *_, last = found.stdout.splitlines()
    assert (found.exit_code, first.partition(":")[0]) == (
        0,
        "one, adjusted by a share, on 30 validation faces",
    )
    assert last == "next: ferops adjust one --share SHARE --name NAME"
    assert sorted(layout.root.rglob("*")) == before


def test_with_a_share_it_writes_the_model_and_says_what_comes_next(layout: Layout) -> None:
    found = adjust("one", "--share", "-0.3", "--name", "fair")
    assert (found.exit_code, found.stdout.splitlines()[0]) == (0, "adjust fair:")
    assert "next: export.model: fair in params.yaml" in found.stdout
    assert (layout.model("fair") / "weights.safetensors").exists()


@pytest.mark.parametrize("half", [("--share", "0.3"), ("--name", "fair")])
def test_share_and_name_go_together(layout: Layout, half: tuple[str, str]) -> None:
    found = adjust("one", *half)
    assert found.exit_code != 0
    assert "--share and --name go together: ferops adjust MODEL --share 0.3 --name NAME" in str(found.exception)
    assert not layout.model("fair").exists()


def test_a_share_beyond_one_is_refused() -> None:
    assert adjust("one", "--share", "1.5", "--name", "fair").exit_code == 2
