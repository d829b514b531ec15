"""Registrations that meet or are killed: one version of the same files, and nothing left behind."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ferops.layout import Layout
from ferops.records.register import RegisterSummary
from ferops.registry.connection import connect
from ferops.registry.signing import TAG
from registering import registration, run
from registry_project import make_project, nothing_left
from servers import mlflow_server

STEPS = (
    "create_run",
    "log_batch",
    "set_terminated",
    "delete_tag",
    "log_artifacts",
    "create_logged_model",
    "log_outputs",
    "log_model_artifacts",
    "finalize_logged_model",
    "create_registered_model",
    "create_model_version",
    "delete_model_version_tag",
    "set_registered_model_alias",
    "delete_logged_model_tag",
)
"""Calls that change the store, in the order in which `register` makes them first, for weights from another machine."""


def register(rounds: Sequence[Sequence[dict[str, Any]]], *, within_s: float = 300) -> list[list[int]]:
    codes, said = run(rounds, within_s=within_s)
    assert all(code in {0, -signal.SIGKILL} for each in codes for code in each), said
    return codes


def project(root: Path, store: Path) -> Layout:
    make_project(Layout(root))
    for path in (store, store.with_name("mlflow.db.schema")):
        shutil.copy(path, root)
    return Layout(root)


@pytest.mark.slow
@pytest.mark.parametrize("step", [("create_logged_model", "after"), ("create_model_version", "after")])
def test_the_next_register_finishes_what_a_kill_left(tmp_path: Path, store: Path, step: tuple[str, str]) -> None:
    killed_and_finished(tmp_path, store, [step])


@pytest.mark.soak
def test_a_kill_around_any_step_leaves_nothing(tmp_path: Path, store: Path) -> None:
    killed_and_finished(tmp_path, store, [(step, when) for step in STEPS for when in ("before", "after")])


def killed_and_finished(tmp_path: Path, store: Path, steps: Sequence[tuple[str, str]]) -> None:
    layouts = [project(tmp_path / f"project-{number}", store) for number in range(len(steps))]
    rounds = []
    for layout, step in zip(layouts, steps, strict=True):
        rounds += [[registration(layout.root, die=step)], [registration(layout.root)]]
    codes = register(rounds, within_s=900)
    for layout, step, (killed,), (finished,) in zip(layouts, steps, codes[::2], codes[1::2], strict=True):
        assert (killed, finished) == (-signal.SIGKILL, 0), step
        client = connect(layout)
        nothing_left(client)
        summary = RegisterSummary.read(layout.summary("register"), made_by="a test")
        assert (summary.version, summary.alias) == ("1", "challenger")
        assert str(client.get_model_version_by_alias("ferops", "challenger").version) == "1"
        left = [path.name for path in layout.root.rglob("*.tmp")]
        assert left == [], step


@pytest.mark.slow
def test_clones_that_register_at_once_make_one_version(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two meet before they make a version; one of two others is killed then; and an honest third comes later."""
    clones = [Layout(tmp_path / f"clone-{number}") for number in range(3)]
    for clone in clones:
        make_project(clone)
    root = tmp_path / "server"
    root.mkdir()
    for path in (store, store.with_name("mlflow.db.schema")):
        shutil.copy(path, root)
    places = ("--no-serve-artifacts", "--default-artifact-root", (root / "mlruns").as_uri())
    with mlflow_server(root, *places) as address:
        met = tmp_path / "met"
        met.mkdir()
        first, second, third = (registration(clone.root, uri=address) for clone in clones)
        both = [first | {"meet": str(met)}, second | {"meet": str(met)}]
        assert register([both, [third], [second]]) == [[0, 0], [0], [0]]
        assert len(list(met.iterdir())) == 2
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = connect(clones[0])
        nothing_left(client)
        made = [RegisterSummary.read(clone.summary("register"), made_by="a test").version for clone in clones]
        assert made == ["1", "1", "1"]
        tags = client.get_model_version("ferops", "1").tags
        assert len([name for name in tags if name.startswith(TAG)]) == 3  # each vouches for it

        for clone in clones:
            path = clone.exported / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": 2.0}))
        met = tmp_path / "met again"
        met.mkdir()
        both = [first | {"meet": str(met)}, second | {"meet": str(met), "die": ["create_model_version", "after"]}]
        assert register([both, [third], [second]]) == [[0, -signal.SIGKILL], [0], [0]]
        nothing_left(client, versions=2)
