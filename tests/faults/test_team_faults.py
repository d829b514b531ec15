"""The stores of a team stack fail while somebody registers, or many do so at once: nothing is lost, and it is said why.

`pytest -m slow -s tests/faults/test_team_faults.py` prints how long each took: the figures of docs/team.md.
`TRAINERS=10` lets ten register at once, where five are tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil
import pytest
from mlflow import MlflowClient

import small_disk
from ferops import config
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import members
from ferops.local import team as stores
from ferops.model_config import export_digest
from ferops.packaging import follow
from ferops.records.register import RegisterSummary
from ferops.registry import stage
from ferops.registry.connection import connect
from ferops.registry.promotion import aliases, promote
from ferops.registry.tracking import weights_digest
from ferops.registry.trust import vouched_for
from ferops.registry.versions import file_digests
from registering import registration, run
from registry_project import make_other, nothing_left, params_tree, renew
from servers import s3_server
from team_registry import TeamRegistry, needs_team, team_registry

pytestmark = [pytest.mark.slow, needs_team]

How = Literal["cut", "silent"]


def soak(case: str) -> Any:
    """Return a case that waits most of its time, and is much like another one: not for each run of the slow tests."""
    return pytest.param(case, marks=pytest.mark.soak)


TRAINERS = int(os.environ.get("TRAINERS", "5"))


@pytest.fixture(scope="module")
def params() -> Params:
    return config.parse(params_tree())


@pytest.fixture(scope="module")
def team() -> Iterator[TeamRegistry]:
    """A registry with version 1."""
    with team_registry() as team, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # as `ferops up --stack team` sets it
        stage.register(team.layout, config.parse(params_tree()))
        yield team


@pytest.fixture
def fresh(team: TeamRegistry) -> int:
    """Make other files to register, and return how many versions there are."""
    renew(team.layout, temperature=2 + time.monotonic() % 1000)
    return len(connect(team.layout).search_model_versions("name = 'ferops'"))


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


def log_in(team: TeamRegistry, patch: pytest.MonkeyPatch, name: str, role: members.Role) -> None:
    patch.setenv("MLFLOW_TRACKING_USERNAME", team.environment["MLFLOW_TRACKING_USERNAME"])
    patch.setenv("MLFLOW_TRACKING_PASSWORD", team.environment["MLFLOW_TRACKING_PASSWORD"])
    password = members.set_member(team.environment["MLFLOW_TRACKING_URI"], name, role=role)
    assert password is not None
    patch.setenv("MLFLOW_TRACKING_USERNAME", name)
    patch.setenv("MLFLOW_TRACKING_PASSWORD", password)


def server_seconds(team: TeamRegistry) -> float:
    """Seconds of a processor that the MLflow server has used."""
    used = psutil.Process(team.server.pid).cpu_times()
    return float(used.user + used.system)


def whole(team: TeamRegistry, params: Params, *, versions: int) -> None:
    """The same command again makes a whole version, which is the challenger, and leaves nothing else."""
    with told("  the same command again"):
        version = stage.register(team.layout, params).version
    nothing_left(connect(team.layout), versions=versions)
    assert aliases(team.layout, params)["challenger"] == version


ERRORS = r"runs, but answers with errors \(status 50[03]\).*database or its store of artifacts.*Nothing is lost"
SILENCE = r"runs, but no longer answers requests.*database or its store of artifacts.*Nothing is lost"


@pytest.mark.parametrize("step", [soak("log_artifacts"), "create_model_version", soak("set_registered_model_alias")])
def test_postgresql_is_killed_in_mid_register(team: TeamRegistry, params: Params, fresh: int, step: str) -> None:
    with before(step, team.kill_database), told(f"PostgreSQL killed before {step}: said after"):
        try:
            with pytest.raises(FeropsError, match=ERRORS):
                stage.register(team.layout, params)
        finally:
            team.start_database()
    whole(team, params, versions=fresh + 1)


@pytest.mark.parametrize("how", ["cut", soak("silent")])
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


@pytest.mark.soak
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


@pytest.mark.parametrize("skew", ["+1h", soak("-1h")])
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


def test_trainers_register_and_reviewers_promote_at_once(
    team: TeamRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts = [Layout(tmp_path / f"trainer-{number}") for number in range(TRAINERS)]
    for number, layout in enumerate(layouts):
        make_other(layout, number)
    before = len(connect(team.layout).search_model_versions("name = 'ferops'"))
    log_in(team, monkeypatch, "tom", "trainer")
    used = server_seconds(team)
    with told(f"{TRAINERS} register at once"):
        codes, said = run([[registration(layout.root) for layout in layouts]], within_s=600)
    assert codes == [[0] * TRAINERS], said
    print(f"  of which the MLflow server had a processor {server_seconds(team) - used:.1f} s")
    client = connect(team.layout)
    nothing_left(client, versions=before + TRAINERS, trained=1 + TRAINERS)
    summaries = [RegisterSummary.read(layout.summary("register"), made_by="a test") for layout in layouts]
    made = [str(summary.version) for summary in summaries]
    assert len(set(made)) == TRAINERS
    for layout, summary, own in zip(layouts, summaries, made, strict=True):
        version = client.get_model_version("ferops", own)
        assert version.tags["digest"] == export_digest(layout.exported)
        assert vouched_for(layout, version).files == file_digests(layout.exported)
        assert version.run_id == summary.run_id
        assert client.get_run(version.run_id).data.tags["ferops.weights"] == weights_digest(layout, "candidate")
    assert client.get_model_version_by_alias("ferops", "challenger").version in made

    log_in(team, monkeypatch, "rita", "reviewer")
    (tmp_path / "met").mkdir()
    five = list(zip(layouts, made, strict=True))[:5]
    plans = [registration(layout.root, promote=own, meet=str(tmp_path / "met")) for layout, own in five]
    with told("5 promote at once"):
        (ended,), said = run([plans])
    assert sorted(ended) == [0, 1, 1, 1, 1], said
    winner = made[ended.index(0)]
    assert client.get_model_version_by_alias("ferops", "champion").version == winner
    assert said.count(f"somebody else promoted at the same moment: version {winner} is champion now") == 4
    noted = {own for own in made if "promoted_by" in client.get_model_version("ferops", own).tags}
    assert noted == {winner}
    client.delete_registered_model_alias("ferops", "champion")  # what others here begin with
