"""A sweep on a Dask cluster of two workers: their experiments come back through Git and the DVC remote."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from repositories import dvc, git, make_repository

SCRIPT = Path(__file__).parents[2] / "deploy" / "dask" / "sweep.py"
STAGE = """
stages:
  train:
    cmd: python train.py
    deps: [data, train.py]
    params: [train.rate]
    metrics: [score.json]
"""
TRAIN = """
import json

rate = float(open("params.yaml").read().split()[-1])
assert rate < 9, "diverged"
json.dump({"score": 2 * rate}, open("score.json", "w"))
"""


@pytest.fixture(scope="module")
def sweep() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sweep", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_combinations(sweep: ModuleType) -> None:
    assert sweep.grid(["a.b=1,2", "c=x"]) == [["a.b=1", "c=x"], ["a.b=2", "c=x"]]
    with pytest.raises(SystemExit, match=r"-S train\.rate: write NAME=VALUE"):
        sweep.grid(["train.rate"])


@pytest.fixture
def scheduler() -> Iterator[str]:
    pytest.importorskip("distributed")
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield str(cluster.scheduler_address)


@pytest.mark.slow
def test_experiments_come_back(tmp_path: Path, scheduler: str) -> None:
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "origin")
    root = make_repository(tmp_path / "project")
    (root / "params.yaml").write_text("train:\n  rate: 0.5\n")
    (root / "dvc.yaml").write_text(STAGE)
    (root / "train.py").write_text(TRAIN)
    (root / "data").write_text("faces")
    dvc(root, "add", "data")
    dvc(root, "remote", "add", "--default", "store", str(tmp_path / "store"))
    dvc(root, "push")
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", "one")
    git(root, "remote", "add", "origin", str(tmp_path / "origin"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        return subprocess.run(
            [sys.executable, str(SCRIPT), scheduler, "--stage", "train", *arguments],
            cwd=root,
            env=os.environ | dict.fromkeys(names, "t@example.org") | {"DVC_NO_ANALYTICS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    done = run("-S", "train.rate=1,2")
    assert done.returncode == 1
    assert "push your commit first" in done.stderr
    git(root, "push", "-q", "--set-upstream", "origin", "main")
    done = run("-S", "train.rate=1,2,9")
    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == ["train.rate=1: rate-1", "train.rate=2: rate-2"]
    assert "train.rate=9: failed" in done.stderr
    assert "1 of 3 experiments failed" in done.stderr

    dvc(root, "exp", "pull", "origin", "--rev", "HEAD")
    dvc(root, "exp", "apply", "rate-2")
    assert '"score": 4.0' in (root / "score.json").read_text()
    assert "rate: 2" in (root / "params.yaml").read_text()
