"""A project may be moved and copied: its store follows, and a copy never touches the original."""

from __future__ import annotations

import multiprocessing
import shutil
import sqlite3
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML
from typer.testing import CliRunner

from evaluation_project import Project, build
from ferops import cli
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import export_digest
from ferops.packaging.reconcile import reconcile
from ferops.packaging.serve import Place, serve_command
from ferops.provenance import provenance
from ferops.registry.connection import connect
from ferops.registry.promotion import champion, promote
from ferops.registry.stage import register
from ferops.registry.store import make_ready
from ferops.registry.versions import fetch
from ferops.registry.watch import training_run
from registry_project import GATES, make_trained, params_tree, write_metrics
from scoring_files import contents
from trained import epoch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def finished(layout: Layout, params: Params) -> Layout:
    with training_run(layout, params, "candidate", training="c" * 64) as watch:
        watch.on_epoch(epoch(1), np.zeros((6, 6), dtype=np.int64))
    register(layout, params)
    promote(layout, params, "1")
    return layout


def use_everything(layout: Layout, params: Params, scratch: Path) -> None:
    digest = export_digest(layout.exported)
    found = champion(layout, params, scratch / "champion")
    assert found is not None
    assert export_digest(found[1]) == digest
    scratch.mkdir(exist_ok=True)
    assert fetch(layout, "models:/ferops@champion", scratch)[0] == "models:/ferops/1"
    with training_run(layout, params, "baseline", training="b" * 64) as watch:
        watch.on_start(np.zeros((8, 8, 3), dtype=np.uint8))
        watch.on_epoch(epoch(1), np.zeros((6, 6), dtype=np.int64))
    run = connect(layout).get_run(watch.run_id)
    logged = list((layout.root / "mlruns").rglob("*.png"))
    assert any(run.info.run_id in path.parts for path in logged)
    promote(layout, params, "1")


def naming(folder: Path, text: str) -> list[str]:
    """Every file below `folder`, and every column of its SQLite store, that holds `text`."""
    found = [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                query = f"SELECT count(*) FROM {table} WHERE instr(CAST({column} AS TEXT), ?)"
                if connection.execute(query, (text,)).fetchone()[0]:
                    found.append(f"{table}.{column}")
    # SQLite keeps the bytes of old rows in free pages
    return [each for each in found if each != "mlflow.db"]


@pytest.mark.parametrize(
    "way",
    [
        "moved into a folder with spaces",
        pytest.param("copied", marks=pytest.mark.slow),
        pytest.param("moved below itself", marks=pytest.mark.slow),
    ],
)
def test_everything_works_elsewhere(finished: Layout, params: Params, tmp_path: Path, way: str) -> None:
    old = finished.root
    if way == "copied":
        new = tmp_path / "copy"
        shutil.copytree(old, new)
        before = contents(old)
    elif way == "moved below itself":
        new = old / "inside"
        shutil.move(old, tmp_path / "aside")
        old.mkdir()
        shutil.move(tmp_path / "aside", new)
    else:
        new = tmp_path / "another folder, 100 % new"
        shutil.move(old, new)
    use_everything(Layout(new), params, tmp_path / "scratch")
    if way == "copied":
        assert contents(old) == before
        use_everything(finished, params, tmp_path / "scratch of the original")
    elif way != "moved below itself":
        assert not old.exists()
        assert naming(new, str(old)) == []


def test_what_the_store_names_is_the_project_alone(finished: Layout) -> None:
    """So that a new release of MLflow which records paths elsewhere is noticed."""
    assert set(naming(finished.root, str(finished.root))) <= {
        "experiments.artifact_location",
        "runs.artifact_uri",
        "logged_models.artifact_location",
        "model_versions.storage_location",
        "ferops_folder.path",
    } | {str(path.relative_to(finished.root)) for path in finished.root.rglob("MLmodel")}


def test_a_store_of_an_earlier_release_has_no_note(finished: Layout, params: Params, tmp_path: Path) -> None:
    with closing(sqlite3.connect(finished.root / "mlflow.db")) as connection, connection:
        connection.execute("DROP TABLE ferops_folder")
    new = tmp_path / "new"
    shutil.copytree(finished.root, new)
    before = contents(finished.root)
    use_everything(Layout(new), params, tmp_path / "scratch")
    assert contents(finished.root) == before


def test_artifacts_that_are_elsewhere_on_purpose_stay_there(
    layout: Layout, client: MlflowClient, tmp_path: Path
) -> None:
    client.create_experiment("remote", artifact_location="s3://bucket/mlruns/remote")
    client.create_experiment("shared", artifact_location=(tmp_path / "share" / "mlruns" / "shared").as_uri())
    new = tmp_path / "new"
    shutil.move(layout.root, new)
    make_ready(new / "mlflow.db")
    found = {each.name: each.artifact_location for each in connect(Layout(new)).search_experiments()}
    assert found["remote"] == "s3://bucket/mlruns/remote"
    assert found["shared"] == (tmp_path / "share" / "mlruns" / "shared").as_uri()


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project from its raw data to its Bento, made by the real stages from `evaluate` on."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    made = build(tmp_path / "project")
    layout = made.layout
    for name in ("baseline", "candidate"):
        make_trained(layout, name, made_from=provenance(layout, made.params))
    shutil.copytree(ROOT / "service", layout.root / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.lock", layout.root)
    work(made, tmp_path / "first")
    return made


def work(project: Project, scratch: Path) -> None:
    """Evaluate against the champion, register, promote, package, and find the Bento to serve."""
    layout, params = project.layout, project.params
    settings = params.registry.model_copy(update={"overrides": dict.fromkeys(GATES, "a test")})
    params = params.model_copy(update={"registry": settings})
    found = champion(layout, params, scratch)
    project.evaluate(champion=found[1] if found else None)
    if found:  # the fixture calls every champion "7"
        metrics = project.metrics
        assert metrics.champion is not None
        write_metrics(
            layout, metrics.model_copy(update={"champion": metrics.champion.model_copy(update={"version": "1"})})
        )
    assert register(layout, params).version == "1"
    promote(layout, params, "1")
    assert "ferops:v1" in reconcile(layout, params)
    command, environment = serve_command(layout, params, Place(3999))
    assert "ferops:v1" in command
    assert Path(environment["BENTOML_HOME"]) == layout.root / "bentoml"
    with training_run(layout, params, "candidate", training="c" * 64) as watch:
        watch.on_start(np.zeros((8, 8, 3), dtype=np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["moved", "copied"])
def test_a_whole_project_works_elsewhere(whole: Project, tmp_path: Path, way: str) -> None:
    old, new = whole.layout.root, tmp_path / "elsewhere"
    before = contents(old)
    shutil.copytree(old, new, symlinks=True)
    if way == "moved":
        shutil.rmtree(old)
    # In a process of its own, as verbs are: MLflow remembers, by run, where artifacts were
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        other.submit(work, replace(whole, layout=Layout(new)), tmp_path / "second").result()
    if way == "copied":
        assert contents(old) == before
    else:
        assert not old.exists()
    assert naming(new, str(old)) == []


def test_verbs_find_their_project_from_a_sub_folder(
    finished: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    YAML().dump(params_tree(), finished.root / "params.yaml")
    (finished.root / ".dvc").mkdir()
    below = finished.root / "notes" / "deep"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    for verb in (["compare", "candidate", "1"], ["promote", "1"]):
        done = CliRunner().invoke(cli.app, verb)
        assert done.exit_code == 0, done.exception
    refused = CliRunner().invoke(cli.app, ["register"])
    assert "compared with no champion" in str(refused.exception)
    assert list(below.iterdir()) == []
    assert Layout.find().params_file == Path("../../params.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FeropsError, match=f"neither {tmp_path} nor a folder above it has params.yaml"):
        Layout.find()
    assert Layout.find(or_here=True) == Layout()
