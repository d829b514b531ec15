"""The stores of a team stack fail while somebody registers: nothing is lost, and it is said why.

`pytest -m slow -s tests/faults/test_team_faults.py` prints how long each took: the figures of docs/team.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient

import small_disk
from ferops import config
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import team as stores
from ferops.packaging import follow
from ferops.registry import stage
from ferops.registry.connection import connect
from ferops.registry.promotion import aliases, promote
from registry_project import nothing_left, params_tree
from servers import s3_server
from team_registry import TeamRegistry, needs_team, team_registry

pytestmark = [pytest.mark.slow, needs_team]

How = Literal["cut", "silent"]


@pytest.fixture(scope="module")
def params() -> Params:
    return config.parse(params_tree())


@pytest.fixture(scope="module")
def team() -> Iterator[TeamRegistry]:
    """A registry with version 1, and few figures in each run: for a version MLflow asks for each."""
    every = stage.flatten
    with team_registry() as team, pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "flatten", lambda *tree, **how: dict(list(every(*tree, **how).items())[:3]))
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # as `ferops up --stack team` sets it
        stage.register(team.layout, config.parse(params_tree()))
        yield team


@pytest.fixture
def fresh(team: TeamRegistry) -> int:
    """Make other files to register, and return how many versions there are."""
    renew(team.layout)
    return len(connect(team.layout).search_model_versions("name = 'ferops'"))


def renew(layout: Layout) -> None:
    path = layout.exported / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": 1 + time.monotonic() % 1000}))


@contextmanager
def before(step: str, strike: Callable[[], None]) -> Iterator[None]:
    """Let `strike` happen just before MLflow's client is first asked for `step`."""
    call = getattr(MlflowClient, step)
    struck: list[bool] = []

    def strikes(*arguments: object, **options: object) -> object:
        if not struck:
            struck.append(True)
            strike()
        return call(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, step, strikes)
        yield
    assert struck, f"register does not ask for {step}"


@contextmanager
def told(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.1f} s")


def whole(team: TeamRegistry, params: Params, *, versions: int) -> None:
    """The same command again makes a whole version, which is the challenger, and leaves nothing else."""
    with told("  the same command again"):
        version = stage.register(team.layout, params).version
    nothing_left(connect(team.layout), versions=versions)
    assert aliases(team.layout, params)["challenger"] == version


ERRORS = r"runs, but answers with errors \(status 50[03]\).*database or its store of artifacts.*Nothing is lost"
SILENCE = r"runs, but no longer answers requests.*database or its store of artifacts.*Nothing is lost"


@pytest.mark.parametrize("step", ["log_artifacts", "create_model_version", "set_registered_model_alias"])
def test_postgresql_is_killed_in_mid_register(team: TeamRegistry, params: Params, fresh: int, step: str) -> None:
    with before(step, team.kill_database), told(f"PostgreSQL killed before {step}: said after"):
        try:
            with pytest.raises(FeropsError, match=ERRORS):
                stage.register(team.layout, params)
        finally:
            team.start_database()
    whole(team, params, versions=fresh + 1)


@pytest.mark.parametrize("how", ["cut", "silent"])
def test_the_store_of_artifacts_is_away(
    team: TeamRegistry, params: Params, fresh: int, how: How, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a store that is cut off MLflow's server tells its client, or it drops the connection while it tries again
    says = f"{ERRORS}|{SILENCE}" if how == "cut" else SILENCE
    if how == "silent":  # else three times a minute
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    try:
        with (
            before("log_artifacts", lambda: team.to_store.become(how)),
            told(f"S3 away ({how}): said after"),
            pytest.raises(FeropsError, match=says),
        ):
            stage.register(team.layout, params)
        with pytest.raises(FeropsError, match=says):
            promote(team.layout, params, "1")  # its files are checked
    finally:
        team.to_store.open()
    assert "champion" not in aliases(team.layout, params)
    whole(team, params, versions=fresh + 1)


def test_a_store_that_comes_back_in_time_is_waited_for(team: TeamRegistry, params: Params, fresh: int) -> None:
    def strike() -> None:
        team.to_store.silence()
        threading.Timer(8, team.to_store.open).start()

    with before("log_artifacts", strike), told("S3 silent for 8 s: registered after"):
        stage.register(team.layout, params)
    nothing_left(connect(team.layout), versions=fresh + 1)


def test_a_full_store_of_artifacts(team: TeamRegistry, params: Params, fresh: int) -> None:
    small_disk.require_mounts()
    former = urlsplit(team.s3).port
    assert former is not None
    with s3_server(disk="64k") as full:
        port = urlsplit(full).port
        assert port is not None
        team.to_store.lead_to(port)
        try:
            stores.require_bucket(team.stores)
            with told("S3 full: said after"), pytest.raises(FeropsError, match=ERRORS):
                stage.register(team.layout, params)
        finally:
            team.to_store.lead_to(former)
            team.to_store.cut()
            team.to_store.open()
    whole(team, params, versions=fresh + 1)


@pytest.mark.parametrize("how", ["cut", "silent"])
def test_a_service_is_parted_from_the_registry(team: TeamRegistry, how: How) -> None:
    with team.to_registry.away(how), told(f"the service parted from the registry ({how}): said after"):
        said = follow._step(team.layout)
    assert said.startswith("The service keeps what it serves: no MLflow server at")
    assert follow._step(team.layout).startswith("No version of ferops is champion")  # it is asked again


@pytest.mark.parametrize("skew", ["+1h", "-1h"])
def test_a_clock_is_an_hour_off(team: TeamRegistry, params: Params, fresh: int, skew: str) -> None:
    if shutil.which("faketime") is None:
        pytest.skip("needs faketime (Debian: apt-get install faketime)")
    environment = os.environ | {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    command = ["faketime", "-f", skew, sys.executable, "-m", "ferops", "register"]
    with told(f"a register with a clock {skew} off"):
        done = subprocess.run(
            command, cwd=team.layout.root, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert f"60 minutes {'ahead of' if skew == '+1h' else 'behind'} the MLflow server's" in done.stderr
    whole(team, params, versions=fresh + 1)  # signed anew by a right clock
