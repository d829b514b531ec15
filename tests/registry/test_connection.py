from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, Timer

import numpy as np
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import export_digest
from ferops.registry import connection
from ferops.registry.connection import EXPERIMENT, connect, connected, experiment_id
from ferops.registry.promotion import champion, promote
from ferops.registry.stage import register
from ferops.registry.store import snapshot
from ferops.registry.versions import all_versions
from ferops.registry.watch import training_run
from registry_project import against_champion, good_metrics, write_metrics
from servers import mlflow_server
from sockets import free_port
from trained import epoch


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nobody listens."""
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


def test_a_dead_server_is_named_at_once(address: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(FeropsError, match=rf"no MLflow server at .*{address}.*make up.*unset MLFLOW_TRACKING_URI"):
        connect(Layout(tmp_path))
    assert time.monotonic() - start < 10
    assert list(tmp_path.iterdir()) == []  # no local store beside the one that was asked for


def test_a_server_that_never_answers_is_named_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr("ferops.registry.connection.SERVER_ANSWERS_WITHIN_S", 0.2)
        with pytest.raises(FeropsError, match="timed out"):
            connect(Layout(tmp_path))


@pytest.mark.parametrize(("status", "accepted"), [(200, True), (401, True), (404, False), (500, False)])
def test_what_answers_must_look_like_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, accepted: bool
) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        if accepted:
            assert connect(Layout(tmp_path)).tracking_uri.startswith("http")
        else:
            with pytest.raises(FeropsError, match=f"answers {status}"):
                connect(Layout(tmp_path))


class NoSuchRun(BaseHTTPRequestHandler):
    """Healthy, but knows no run."""

    def do_GET(self) -> None:
        healthy = self.path == "/health"
        body = b"OK" if healthy else b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}'
        self.send_response(200 if healthy else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("dies", [False, True])
def test_only_silence_becomes_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def ask(server: HTTPServer) -> None:
        with connected(Layout(tmp_path), kept="All is well") as client:
            if dies:
                server.shutdown()
                server.server_close()
            client.get_run("any")

    with HTTPServer(("127.0.0.1", 0), NoSuchRun) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        if dies:
            with pytest.raises(FeropsError, match=rf"{address} no longer answers\. All is well\. Start the server"):
                ask(server)
        else:
            with pytest.raises(MlflowException, match="no such run"):
                ask(server)
            server.shutdown()


class Hangs(NoSuchRun):
    """Healthy, but gives no answer to anything else: a server that was stopped, or that waits for a lock."""

    def do_GET(self) -> None:
        if self.path != "/health":
            time.sleep(2.5)
        super().do_GET()


def test_a_server_that_hangs_in_the_middle_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "")  # so that what `connect` sets is undone
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT")
    monkeypatch.setitem(connection._PATIENCE_S, True, 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Hangs) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        start = time.monotonic()
        with pytest.raises(FeropsError, match="no longer answers"), connected(Layout(tmp_path)) as client:
            client.get_run("any")
        assert time.monotonic() - start < 2.4
        server.shutdown()


class LosesItsStore(NoSuchRun):
    """As MLflow's server, when its database or its bucket is away."""

    def do_GET(self) -> None:
        if self.path == "/health":
            super().do_GET()
        else:
            self.send_error(500)


@pytest.mark.parametrize("retries", ["0", "1"])
def test_a_server_whose_stores_are_away_is_not_called_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
    with ThreadingHTTPServer(("127.0.0.1", 0), LosesItsStore) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        says = r"answers with errors \(status 500\).*database.*mlflow-server\.log.*\. Nothing is lost\. Bring"
        with pytest.raises(FeropsError, match=says), connected(Layout(tmp_path)) as client:
            client.get_run("any")
        server.shutdown()


@pytest.mark.parametrize(
    ("ahead_s", "says"), [(3600, "60 minutes ahead of"), (-3600, "60 minutes behind"), (100, ""), (None, "")]
)
def test_a_clock_that_is_off_is_said(caplog: pytest.LogCaptureFixture, ahead_s: float | None, says: str) -> None:
    connection._note_clock(None if ahead_s is None else formatdate(time.time() - ahead_s, usegmt=True))
    assert says in caplog.text
    assert bool(says) == bool(caplog.records)


class WantsLogin(NoSuchRun):
    def do_GET(self) -> None:
        if self.path == "/health":
            super().do_GET()
        else:
            self.send_error(401)


def test_a_login_that_is_refused_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), WantsLogin) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(FeropsError, match=r"refuses the login.*ferops env"), connected(Layout(tmp_path)) as client:
            client.get_run("any")
        server.shutdown()


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "sqlite://", "sqlite:///"])
def test_addresses_that_cannot_work_are_refused(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(FeropsError, match="MLFLOW_TRACKING_URI is"):
        connect(Layout(tmp_path))


def test_a_damaged_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_text("this is no database, " * 100)
    with pytest.raises(FeropsError, match=r"mlflow\.db cannot be used.*not a database.*Keep a copy"):
        connect(Layout(tmp_path))


@pytest.fixture
def writer(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """Another program that holds the lock of the project's mlflow.db."""
    script = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(layout.root / "mlflow.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_locked_database_is_intact_and_its_writer_named(
    layout: Layout, writer: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferops.registry.store.LOCKED_WITHIN_S", 0.2)
    before = (layout.root / "mlflow.db").read_bytes()
    named = rf"is locked: process {writer.pid} \(.*registry is intact. Wait"
    with pytest.raises(FeropsError, match=named) as of_connect:
        connect(layout)
    with pytest.raises(FeropsError, match=named):
        snapshot(layout.root / "mlflow.db", tmp_path / "copy.db")
    assert "away" not in str(of_connect.value)
    assert (layout.root / "mlflow.db").read_bytes() == before
    writer.kill()
    writer.wait()
    connect(layout)


def test_a_short_wait_for_a_writer_needs_no_word(
    layout: Layout, writer: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferops.registry.store.LOCKED_WITHIN_S", 30.0)
    timer = Timer(0.5, writer.kill)
    timer.start()
    assert connect(layout).search_experiments()
    timer.join()


def test_a_database_that_gets_locked_in_the_middle_of_a_command(layout: Layout) -> None:
    words = "(sqlite3.OperationalError) database is locked\n[SQL: UPDATE runs ...]"
    with pytest.raises(FeropsError, match=r"is locked.*All is kept"), connected(layout, kept="All is kept"):
        raise MlflowException(words)


def test_another_command_that_makes_the_store_ready_is_waited_for_only_so_long(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferops.registry.store.TURN_WITHIN_S", 0.2)
    with FileLock(layout.root / "mlflow.db.lock"), pytest.raises(FeropsError, match="another ferops command"):
        connect(layout)


@pytest.mark.slow
def test_a_store_of_a_newer_mlflow_is_not_called_damaged(layout: Layout) -> None:
    store = layout.root / "mlflow.db"
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fromthefuture'")
    store.with_name("mlflow.db.schema").write_text("4.0", encoding="utf-8")
    with pytest.raises(FeropsError, match=r"newer MLflow than.*intact") as caught:
        connect(layout)
    assert "damaged" not in str(caught.value)


@pytest.mark.slow
def test_two_processes_make_one_fresh_store(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ferops.layout import Layout\n"
        "from ferops.registry.connection import connect, experiment_id\n"
        "print(experiment_id(connect(Layout(Path(sys.argv[1])))))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ids = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert ids[0] == ids[1] != ""
    assert (tmp_path / "mlflow.db").exists()


def test_a_deleted_experiment_is_named(layout: Layout, client: MlflowClient) -> None:
    found = experiment_id(client)
    client.delete_experiment(found)
    try:
        with pytest.raises(FeropsError, match=f"restore --experiment-id {found}"):
            experiment_id(connect(layout))
    finally:
        client.restore_experiment(found)


@pytest.mark.slow
@pytest.mark.parametrize("server_first", [True, False])
def test_a_store_is_the_same_with_and_without_its_server(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch, layout: Layout, server_first: bool
) -> None:
    root = layout.root

    def record() -> str:
        with training_run(layout, params, "candidate", training="t" * 64) as watch:
            watch.on_epoch(epoch(1), np.zeros((6, 6), dtype=np.int64))
        register(layout, params)
        promote(layout, params, "1")
        write_metrics(layout, against_champion(good_metrics(), low=0.0))  # judged again, now against itself
        return export_digest(layout.exported)

    def read(folder: Path, digest: str) -> None:
        found = champion(layout, params, folder)
        assert found is not None
        assert found[0] == "1"
        assert export_digest(found[1]) == digest
        assert register(layout, params).version == "1"
        client = connect(layout)
        run = client.get_run(all_versions(connect(layout), "ferops")[0].run_id)
        assert run.data.metrics["train_loss"] == pytest.approx(2 / 3)
        report = client.download_artifacts(run.info.run_id, "evaluate/report.html", str(folder))
        assert Path(report).read_text() == "<h1>Report</h1>"

    if not server_first:
        digest = record()
    with mlflow_server(root, "--no-serve-artifacts", "--default-artifact-root", (root / "mlruns").as_uri()) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        if server_first:
            digest = record()
        read(tmp_path / "through the server", digest)
        run_id = all_versions(connect(layout), "ferops")[0].run_id
        # What a browser asks for
        page = urllib.request.urlopen(f"{address}/get-artifact?path=evaluate/report.html&run_uuid={run_id}")
        with page:
            assert page.read() == b"<h1>Report</h1>"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    read(tmp_path / "directly", digest)


@pytest.mark.slow
def test_artifacts_that_only_the_server_can_reach_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "project")
    with mlflow_server(layout.root, "--artifacts-destination", "mlruns") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        experiment_id(connect(layout))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(FeropsError, match=f"{EXPERIMENT}.* belong to an MLflow server"):
        experiment_id(connect(layout))
