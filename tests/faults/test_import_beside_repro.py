"""An import beside `dvc repro`: what a stage read is what dvc.lock says that it read."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.orchestration.child import child_environment
from ferops.orchestration.steady import steady
from ferops.provenance import data_version
from releases import make_folder
from sample_images import noise_png

pytestmark = pytest.mark.slow

STAGE = """stages:
  look:
    cmd: cp data/a.parquet first; touch started; until [ -e go ]; do sleep 0.1; done; cp data/a.parquet second
    deps: [data]
    params: [seed]
    outs: [first, second]
"""


def _run(root: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=root,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    root = tmp_path / "project"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    _wait(_run(root, "dvc", "init", "-q"))
    (root / "dvc.yaml").write_text(STAGE, encoding="utf-8")
    (root / "params.yaml").write_text("seed: 1\nother: 1\n", encoding="utf-8")
    for number in (1, 2):
        make_folder(tmp_path / str(number), {f"sad/{i}.png": noise_png(10 * number + i) for i in range(3)})
    _wait(_run(root, "ferops", "import", "folder", str(tmp_path / "1"), "--name", "a"))
    return Layout(root)


def test_an_import_waits_for_the_stage_that_reads_the_data(layout: Layout, tmp_path: Path) -> None:
    root = layout.root
    first = data_version(layout)
    repro = _run(root, "dvc", "repro")
    while not (root / "started").exists():
        assert repro.poll() is None
        time.sleep(0.05)
    importing = _run(root, "ferops", "import", "folder", str(tmp_path / "2"), "--name", "a")
    assert importing.stdout
    heard = importing.stdout.readline()
    assert "waiting for another DVC command to end" in heard
    (root / "go").touch()
    _wait(repro)
    _wait(importing)
    assert (root / "first").read_bytes() == (root / "second").read_bytes() != layout.source("a").read_bytes()
    locked = YAML(typ="safe").load((root / "dvc.lock").read_text(encoding="utf-8"))
    assert locked["stages"]["look"]["deps"][0]["md5"] == f"{first}.dir"
    assert data_version(layout) != first
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=root, capture_output=True, text=True, check=True
    )
    assert "changed deps" in status.stdout  # the stage has to run again


def test_a_stage_whose_inputs_change_while_it_runs_fails(layout: Layout) -> None:
    """By hand, so that DVC's lock keeps nobody off; and what no lock protects: settings and code."""
    params, results = layout.params_file, layout.artifacts("look")
    results.mkdir(parents=True)
    with steady(layout, "look"):
        params.write_text("seed: 1\nother: 2\n", encoding="utf-8")  # not its own
    with (
        pytest.raises(FeropsError, match=r"^params.yaml: seed changed while look ran.*dvc commit look"),
        steady(layout, "look"),
    ):
        params.write_text("seed: 2\nother: 2\n", encoding="utf-8")
    assert results.exists()
    with pytest.raises(FeropsError, match=r"^data changed while look ran.*are removed"), steady(layout, "look"):
        shutil.copy(layout.source("a"), layout.source("b"))
    assert not results.exists()
    with steady(layout, "no stage of dvc.yaml"):
        pass
