"""The local stack: Prefect server and worker, and the MLflow server, as `make up` and `make down` want them.

    up()      checks the ports, starts what is needed, applies prefect.yaml, says where everything is
    down()    ends all of it; safe to call when nothing runs
    status()  what is running

State lies in .ferops/: stack.json (StackState), logs/ (the output of the processes). All servers listen on this machine
only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import processes
from ferops.local.ports import HOST, Ports, require_free
from ferops.local.processes import Process
from ferops.orchestration.child import child_environment
from ferops.records import Record
from ferops.registry.connection import experiment_in
from ferops.registry.store import make_ready, own_database

WORK_POOL = "local"
WORKER = "ferops"
SERVER_WITHIN_S = 120.0  # seconds on a quiet machine; the first start migrates a database
SETUP_WITHIN_S = 120.0


class StackState(Record):
    """The processes of a stack.

    Attributes:
        folder: device and inode of the project's folder: the same after a move, another one in a copy, which must not
            take the original's servers for its own.
        processes: with logs relative to the project's folder.
    """

    stored_in: ClassVar[str] = ".ferops/stack.json"
    made_by: ClassVar[str] = "ferops up"

    folder: str
    ports: Ports
    processes: tuple[Process, ...]


def up(layout: Layout, ports: Ports | None = None, *, say: Callable[[str], None] = print) -> str:
    """Start the stack, wait until it is ready, and return where everything is; if it runs already, only that.

    Args:
        layout: the project's folders.
        ports: those of the environment if None.
        say: takes what a person wants to know meanwhile.

    Raises:
        FeropsError: a port is taken, prefect.yaml is missing, or a server did not start. Whatever had been started is
            ended again.
    """
    state, running = _state(layout), status(layout)
    if state and all(running.values()):
        return "The stack is up already.\n" + _addresses(layout, state.ports)
    ports = ports or Ports.from_environment()
    if running:
        say(f"No longer running: {', '.join(each.name for each in running if not running[each])}. Starting all again.")
        down(layout)
    _require_project(layout)
    require_free(ports.prefect, variable="FEROPS_PREFECT_PORT", what="the Prefect server")
    require_free(ports.mlflow, variable="FEROPS_MLFLOW_PORT", what="the MLflow server")
    with _all_or_nothing(layout, ports) as begin:
        _start_all(layout, ports, begin=begin, say=say)
    return "The stack is up.\n" + _addresses(layout, ports)


def down(layout: Layout) -> str:
    """End the stack, its running flows included, and say so. Nothing running is fine."""
    servers = status(layout)
    processes.stop(list(reversed(servers)))  # the worker first: it reports the flows that it ends to the server
    _state_file(layout).unlink(missing_ok=True)
    return "The stack is down." if any(servers.values()) else "The stack was not running."


def status(layout: Layout) -> dict[Process, bool]:
    """Return the servers that `up` started and `down` has not ended, and whether each runs."""
    return {process: processes.find(process) is not None for process in _recorded(layout)}


def require_tracking_server(layout: Layout) -> None:
    """Flows call this first: with the stack up, a process without MLFLOW_TRACKING_URI would silently write elsewhere.

    Raises:
        FeropsError: the stack is up and MLFLOW_TRACKING_URI is not set.
    """
    state = _state(layout)
    if os.environ.get("MLFLOW_TRACKING_URI") or not state or not any(status(layout).values()):
        return
    url = state.ports.mlflow_url
    raise FeropsError(
        f"the stack's MLflow server is at {url}, but MLFLOW_TRACKING_URI is not set in this process. The worker of "
        f"`make up` has it; for another one: export MLFLOW_TRACKING_URI={url}"
    )


def _start_all(
    layout: Layout,
    ports: Ports,
    *,
    begin: Callable[[str, list[str], dict[str, str]], Process],
    say: Callable[[str], None],
) -> None:
    root = layout.root.resolve()
    env = _stack_environment(root, ports)
    say("Starting the Prefect server, the MLflow server and a worker (10 to 60 s) ...")
    prefect = ["-m", "prefect", "server", "start", "--host", HOST, "--port", str(ports.prefect)]
    prefect_server = begin("prefect-server", prefect, env)
    # Servers and stages may meet in a fresh database: make it ready before anyone opens it
    make_ready(own_database(layout))
    mlflow = ["-m", "mlflow", "server", "--host", HOST, "--port", str(ports.mlflow), "--workers", "1"]
    # Artifacts are recorded under their path on this machine, so that clients with and without the server agree
    mlflow += ["--backend-store-uri", f"sqlite:///{own_database(layout)}", "--no-serve-artifacts"]
    mlflow += ["--default-artifact-root", (root / "mlruns").as_uri()]
    mlflow_server = begin("mlflow-server", mlflow, env)
    processes.wait_until(
        lambda: processes.answers(f"{ports.prefect_url}/api/health"), prefect_server, within_s=SERVER_WITHIN_S
    )
    _set_up(layout, ["prefect", "work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"], env)
    _set_up(layout, ["prefect", "--no-prompt", "deploy", "--all"], env)
    processes.wait_until(
        lambda: processes.answers(f"{ports.mlflow_url}/health"), mlflow_server, within_s=SERVER_WITHIN_S
    )
    _end_orphans(ports)
    since_s = time.time()
    worker = ["-m", "prefect", "worker", "start", "--pool", WORK_POOL, "--name", WORKER, "--type", "process"]
    started = begin("prefect-worker", worker, env)
    processes.wait_until(lambda: _worker_polls(ports, since_s=since_s), started, within_s=SERVER_WITHIN_S)


@contextmanager
def _all_or_nothing(layout: Layout, ports: Ports) -> Iterator[Callable[[str, list[str], dict[str, str]], Process]]:
    """Yield a function that starts and records a process; if the block fails, all of them are ended."""
    started: list[Process] = []

    def begin(name: str, arguments: list[str], env: dict[str, str]) -> Process:
        log = layout.state.resolve() / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)  # one start, one log
        process = processes.start(name, [sys.executable, *arguments], cwd=layout.root.resolve(), env=env, log=log)
        started.append(process)
        # Recorded at once: a `down` from another terminal finds a half-started stack, too
        recorded = tuple(replace(each, log=f".ferops/logs/{each.name}.log") for each in started)
        StackState(folder=_folder_id(layout), ports=ports, processes=recorded).write(_state_file(layout))
        return process

    try:
        yield begin
    except BaseException:
        down(layout)
        raise


def _stack_environment(root: Path, ports: Ports) -> dict[str, str]:
    return child_environment() | {
        "PREFECT_API_URL": f"{ports.prefect_url}/api",
        "PREFECT_HOME": str(root / ".prefect"),  # absolute: the worker starts flows in a temporary folder
        "PREFECT_UI_STATIC_DIRECTORY": str(root / ".prefect" / "ui"),  # else Prefect writes into site-packages
        "MLFLOW_TRACKING_URI": ports.mlflow_url,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 6 s and 0.5 GB instead of 29 s and 2 GB
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST, "localhost"])),
    }


def _set_up(layout: Layout, arguments: list[str], env: dict[str, str]) -> None:
    """Run a short command to its end; FeropsError with its last lines if it fails."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=layout.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SETUP_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FeropsError(f"`{' '.join(arguments)}` did not end within {SETUP_WITHIN_S:g} s") from error
    if done.returncode != 0:
        lines = [f"  {line}" for line in done.stdout.splitlines() if line.strip()]
        raise FeropsError("\n".join([f"`{' '.join(arguments)}`, which starts the stack, failed:", *lines[-15:]]))


def _worker_polls(ports: Ports, *, since_s: float) -> bool:
    try:
        workers = _ask_prefect(ports, f"work_pools/{WORK_POOL}/workers/filter", {})
    except FeropsError:
        return False  # a loaded machine; the caller asks again
    beats = [datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp() for worker in workers]
    return any(beat >= since_s for beat in beats)  # an earlier start of the stack left its worker in the list


def _end_orphans(ports: Ports) -> None:
    """Mark runs that an earlier worker left unfinished as crashed: they would hold the one slot of `pipeline` for ever.

    Called before the worker starts, when nothing of the work pool can be running.
    """
    unfinished = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
    here = {"name": {"any_": [WORK_POOL]}}
    for run in _ask_prefect(ports, "flow_runs/filter", {"flow_runs": unfinished, "work_pools": here}):
        state = {"type": "CRASHED", "message": "The stack was stopped during this run"}
        _ask_prefect(ports, f"flow_runs/{run['id']}/set_state", {"state": state})


def _ask_prefect(ports: Ports, path: str, body: dict[str, Any]) -> Any:
    """POST to the Prefect API, which must be up; return the JSON answer. FeropsError if there is none."""
    request = urllib.request.Request(
        f"{ports.prefect_url}/api/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as reply:
            return json.load(reply)
    except OSError as error:  # URLError, HTTPError and TimeoutError are OSErrors
        raise FeropsError(f"the Prefect server gave no answer to {request.full_url}: {error}") from error


def _addresses(layout: Layout, ports: Ports) -> str:
    lines = [
        f"  Prefect      {ports.prefect_url}",
        f"  MLflow       {ports.mlflow_url}/{_mlflow_page(layout)}",
        f"  Service      {ports.service_url}   (after: make serve)",
        "Next: prefect deployment run 'pipeline/local' --watch   (or the Run button of the deployment in the browser)",
        "End it with: make down",
    ]
    if ports.prefect != Ports.prefect:
        lines.insert(3, f"First, for the prefect command: export PREFECT_API_URL={ports.prefect_url}/api")
    return "\n".join(lines)


def _mlflow_page(layout: Layout) -> str:
    """The runs of the pipeline, if there are any: MLflow's start page is about something else."""
    store = own_database(layout)
    found = experiment_in(store) if store.exists() else None
    return "#/experiments" if found is None else f"#/experiments/{found}/runs"


def _require_project(layout: Layout) -> None:
    for name in ("prefect.yaml", "dvc.yaml"):
        if not (layout.root / name).exists():
            raise FeropsError(f"{layout.root.resolve()} has no {name}. Run the command in the project's folder")


def _state_file(layout: Layout) -> Path:
    return layout.state / "stack.json"


def _state(layout: Layout) -> StackState | None:
    """Return what this very folder's `up` recorded."""
    if not _state_file(layout).exists():
        return None
    try:
        state = StackState.read(_state_file(layout), made_by="ferops up")
    except FeropsError:  # of another release
        return None
    return state if state.folder == _folder_id(layout) else None


def _recorded(layout: Layout) -> list[Process]:
    state = _state(layout)
    return [replace(each, log=str(layout.root / each.log)) for each in state.processes] if state else []


def _folder_id(layout: Layout) -> str:
    found = layout.root.stat()
    return f"{found.st_dev}:{found.st_ino}"
