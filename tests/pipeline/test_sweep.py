"""docs/sweeps.md: DVC queues trainings, and its table shows what a sweep may choose by: validation alone."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from blobs import make_project, params_tree
from ferops.config import load_params
from ferops.layout import Layout
from ferops.orchestration.child import child_environment
from ferops.registry.compare import compare

ROOT = Path(__file__).parents[2]
DAG: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
RATES = ("0.0001", "0.003")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of blobs, committed, with the one stage `train` of dvc.yaml; its faces are tracked as data are."""
    root = tmp_path / "project"
    layout = make_project(root)
    layout.data_dvc.unlink()
    (root / "data").mkdir()
    (root / "data" / "note.txt").write_text("no images are needed")
    tree = params_tree()
    tree["models"]["candidate"]["epochs"] = 1
    dag = {"stages": {"train": DAG["stages"]["train"]}, "metrics": DAG["metrics"]}
    dag["stages"]["train"]["do"]["deps"] = ["artifacts/preprocess"]
    for name, content in (("params.yaml", tree), ("dvc.yaml", dag)):
        with (root / name).open("w", encoding="utf-8") as file:
            YAML().dump(content, file)
    (root / ".gitignore").write_text(".ferops/\nmlflow.db*\nmlruns/\nreports/\n/artifacts/train\n")
    run(root, "git init -q -b main; git config user.email t@example.org; git config user.name t; dvc init -q")
    run(root, "dvc add -q data artifacts/preprocess; git add .; git commit -qm project")
    return root


def run(root: Path, script: str) -> str:
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=root,
        env=child_environment()
        | {"DVC_NO_ANALYTICS": "1", "HOME": str(root.parent), "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_a_sweep_is_queued_run_and_compared(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(path for path in project.rglob("*") if ".dvc" not in path.parts and ".git" not in path.parts)
    for rate in RATES:
        run(project, f"dvc exp run -q --queue --name lr-{rate} -S train.max_lr={rate} train@candidate")
    run(project, "dvc exp run --run-all")

    columns = json.loads(run(project, "dvc exp show --json"))[1]["experiments"]
    shown = {one["name"]: one["revs"][0]["data"]["metrics"] for one in columns}
    assert shown.keys() == {f"lr-{rate}" for rate in RATES}
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    runs = {
        each.info.run_name: each for each in client.search_runs([client.get_experiment_by_name("ferops").experiment_id])
    }
    assert runs.keys() == {f"candidate@lr-{rate}" for rate in RATES}
    for rate in RATES:
        figures = shown[f"lr-{rate}"]["reports/train/candidate/metrics.json"]["data"]
        assert figures.keys() == {"val_macro_f1", "val_accuracy", "best_epoch"}
        logged = runs[f"candidate@lr-{rate}"].data
        assert logged.metrics["best_val_macro_f1"] == pytest.approx(figures["val_macro_f1"])
        assert logged.params["train.max_lr"] == rate
        assert not any("data" in shown[f"lr-{rate}"].get(path, {}) for path in ("reports/evaluate/metrics.json",))

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    found = compare(Layout(project), load_params(project / "params.yaml"), [f"candidate@lr-{rate}" for rate in RATES])
    assert found.settings == {"train.max_lr": RATES}
    assert found.comparable is False  # no split was drawn here, and an unknown one is no known one
    left = sorted(path for path in project.rglob("*") if ".dvc" not in path.parts and ".git" not in path.parts)
    assert [path for path in left if not re.match(r"mlflow\.db|mlruns", path.relative_to(project).parts[0])] == before
