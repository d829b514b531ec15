"""The local stack: Prefect server and worker, and the MLflow server, as `make up` and `make down` want them.

    up()      checks the ports, starts what is needed, applies prefect.yaml, says where everything is;
              with kind="team" on PostgreSQL and S3 (ferops.local.team)
    down()    ends all of it; safe to call when nothing runs

State lies in .ferops/: stack.json (StackState), logs/ (the output of the processes), private/ (the logins). All servers
listen on this machine only, behind `ferops.local.guard`, and answer nobody without a login (docs/security.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, Literal

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import access, processes, team
from ferops.local.ports import Ports, listen
from ferops.local.processes import Process
from ferops.local.start import STORES, Begin, clear, start_all
from ferops.local.state import StackState, folder_id, recorded, state_file, status
from ferops.registry.connection import experiment_in
from ferops.registry.store import own_database

ANSWERS_WITHIN_S = 4.0


def up(
    layout: Layout,
    ports: Ports | None = None,
    *,
    kind: Literal["local", "team"] = "local",
    try_s3: bool = False,
    say: Callable[[str], None] = print,
) -> str:
    """Start the stack, wait until it is ready, and return where everything is; if it runs already, only that.

    Args:
        layout: the project's folders.
        ports: those of the environment if None.
        kind: `team` keeps everything in PostgreSQL and S3 (docs/team.md), `local` in SQLite and files.
        try_s3: the team's bucket is one of moto's S3 server, which forgets it when the stack ends.
        say: takes what a person wants to know meanwhile.

    Raises:
        FeropsError: a port is taken, prefect.yaml is missing, or a server did not start: whatever had been started is
            ended again. Or the stack is up, but of the other kind, or a server does not answer.
    """
    state, running = recorded(layout), status(layout)
    if state and all(running.values()):
        if state.kind != kind:
            raise FeropsError(f"the {state.kind} stack is up, which has another registry. End it first: ferops down")
        _require_answers(layout, state.ports)
        return "The stack is up already.\n" + _addresses(layout, state.ports, kind)
    ports = ports or Ports.from_environment()
    if running:
        say(f"No longer running: {', '.join(each.name for each in running if not running[each])}. Starting all again.")
        down(layout)
    _require_project(layout)
    access.allowed_origins()  # a wrong one is better known now
    stores = None
    if kind == "team":
        team.driver("psycopg")
        stores = team.trial(ports) if try_s3 else team.read_stores(layout)
    elif try_s3:
        raise FeropsError("--try-s3 is for the team stack: ferops up --stack team --try-s3")
    with (
        closing(listen(ports.prefect, variable="FEROPS_PREFECT_PORT", what="the Prefect server")) as for_prefect,
        closing(listen(ports.mlflow, variable="FEROPS_MLFLOW_PORT", what="the MLflow server")) as for_mlflow,
        _all_or_nothing(layout, ports, kind) as begin,
    ):
        access.close_to_others(layout)
        access.renew(layout)
        sockets = (for_prefect.fileno(), for_mlflow.fileno())
        start_all(layout, ports, sockets=sockets, begin=begin, say=say, stores=stores)
    return "The stack is up.\n" + _addresses(layout, ports, kind)


def down(layout: Layout) -> str:
    """End the stack, its running flows included, and say so. Nothing running is fine."""
    servers = status(layout)
    # The worker first: it reports the flows that it ends to the server. The stores last: PostgreSQL waits for clients
    for group in ([each for each in servers if (each.name in STORES) is last] for last in (False, True)):
        processes.stop(list(reversed(group)))
    clear()
    access.forget(layout)
    state_file(layout).unlink(missing_ok=True)
    return "The stack is down." if any(servers.values()) else "The stack was not running."


def require_tracking_server(layout: Layout) -> None:
    """Flows call this first: with the stack up, a process without MLFLOW_TRACKING_URI would silently write elsewhere.

    Raises:
        FeropsError: the stack is up and MLFLOW_TRACKING_URI is not set.
    """
    state = recorded(layout)
    if os.environ.get("MLFLOW_TRACKING_URI") or not state or not any(status(layout).values()):
        return
    raise FeropsError(
        f"the stack's MLflow server is at {state.ports.mlflow_url}, but MLFLOW_TRACKING_URI is not set in this "
        'process. The worker of `make up` has it; for another one: eval "$(ferops env)"'
    )


def environment(layout: Layout) -> dict[str, str]:
    """Return the variables with which clients reach the running stack.

    Raises:
        FeropsError: it is not running.
    """
    state = recorded(layout)
    if not state or not any(status(layout).values()):
        raise FeropsError("the stack is not running, so there is nothing to log in to. Start it: make up")
    return _client_environment(layout, state)


def team_environment(layout: Layout) -> dict[str, str]:
    """Return `environment` of a team stack. Raises FeropsError: none is running."""
    found = environment(layout)
    state = recorded(layout)
    if state is None or state.kind != "team":
        raise FeropsError("the local stack has one login only (ferops env). Logins by person: ferops up --stack team")
    return found


def logins(layout: Layout) -> dict[str, str]:
    """Return what this process's environment lacks to reach the running stack.

    These are the logins for those servers that it names and that are the stack's. If it names none, the verbs use
    the project's own files, which a local stack uses, too; a team stack's registry is elsewhere: they get its address.
    """
    state = recorded(layout)
    if not state or not any(status(layout).values()):
        return {}
    if state.kind == "team" and not os.environ.get("MLFLOW_TRACKING_URI"):
        return _client_environment(layout, state)
    return access.logins_for(os.environ, layout, state.ports)


def _client_environment(layout: Layout, state: StackState) -> dict[str, str]:
    # A team's server passes uploads on to S3 before it answers
    patience = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60"} if state.kind == "team" else {}
    return access.client_environment(layout, state.ports) | patience


@contextmanager
def _all_or_nothing(layout: Layout, ports: Ports, kind: Literal["local", "team"]) -> Iterator[Begin]:
    """Yield a function that starts and records a process; if the block fails, all of them are ended."""
    started: list[Process] = []

    def begin(name: str, arguments: list[str], env: dict[str, str], **how: Any) -> Process:
        log = layout.state.resolve() / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)  # one start, one log
        command = [sys.executable, *arguments]
        process = processes.start(name, command, cwd=layout.root.resolve(), env=env, log=log, **how)
        started.append(process)
        # Recorded at once: a `down` from another terminal finds a half-started stack, too
        noted = tuple(replace(each, log=f".ferops/logs/{each.name}.log") for each in started)
        StackState(folder=folder_id(layout), kind=kind, ports=ports, processes=noted).write(state_file(layout))
        return process

    try:
        yield begin
    except BaseException:
        down(layout)
        raise


def _require_answers(layout: Layout, ports: Ports) -> None:
    probes = {"Prefect": f"{ports.prefect_url}/api/health", "MLflow": f"{ports.mlflow_url}/health"}
    for name, url in probes.items():
        if not processes.answers(url, timeout_s=ANSWERS_WITHIN_S):
            raise FeropsError(
                f"the {name} server runs, but does not answer at {url} within {ANSWERS_WITHIN_S:g} s. Its log is in "
                f"{layout.state / 'logs'}. If it stays so, start the stack anew: make down up"
            )


def _addresses(layout: Layout, ports: Ports, kind: Literal["local", "team"]) -> str:
    return "\n".join(
        [
            f"  Prefect      {ports.prefect_url}",
            f"  MLflow       {ports.mlflow_url}/{_mlflow_page(layout, kind)}",
            f"  Service      {ports.service_url}   (after: make serve)",
            "Prefect and MLflow ask for a login, new with every `make up`. Show it: ferops env",
            "Next: prefect deployment run 'pipeline/local' --watch   (or the deployment's Run button in the browser)",
            *(['First, for the prefect command: eval "$(ferops env)"'] if ports.prefect != Ports.prefect else []),
            "End it with: make down",
        ]
    )


def _mlflow_page(layout: Layout, kind: Literal["local", "team"]) -> str:
    """The runs of the pipeline, if there are any: MLflow's start page is about something else."""
    store = own_database(layout)
    found = experiment_in(store) if kind == "local" and store.exists() else None
    return "#/experiments" if found is None else f"#/experiments/{found}/runs"


def _require_project(layout: Layout) -> None:
    for name in ("prefect.yaml", "dvc.yaml"):
        if not (layout.root / name).exists():
            raise FeropsError(f"{layout.root.resolve()} has no {name}. Run the command in the project's folder")
