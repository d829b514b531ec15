"""Starting the parts of the stack, in the order in which they need each other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import access, postgres, prefect_api, processes, team
from ferops.local.guard import own_origins
from ferops.local.ports import HOST, Ports
from ferops.local.prefect_api import WORK_POOL
from ferops.local.processes import Process
from ferops.local.team import Stores
from ferops.orchestration.child import child_environment
from ferops.registry.store import make_ready, own_database
from ferops.scratch import lent_folder, remove_leftovers

WORKER = "ferops"
POSTGRES = "postgresql"
STORES = (POSTGRES, "s3")
"""The processes that the servers need, so that they end last."""

SERVER_WITHIN_S = 120.0  # seconds on a quiet machine; the first start migrates a database
SETUP_WITHIN_S = 120.0
_SCRATCH = "ferops-worker"


class Begin(Protocol):
    def __call__(self, name: str, arguments: list[str], env: dict[str, str], **how: Any) -> Process: ...


def start_all(
    layout: Layout,
    ports: Ports,
    *,
    sockets: tuple[int, int],
    begin: Begin,
    say: Callable[[str], None],
    stores: Stores | None = None,
) -> None:
    """Start the servers and the worker, with `stores` as a team stack, and wait until all are ready."""
    env = _stack_environment(layout, ports)
    databases = start_stores(layout, ports, stores, env=env, begin=begin, say=say) if stores else {}
    say("Starting the Prefect server, the MLflow server and a worker (10 to 60 s) ...")

    def serve(name: str, port: int, socket: int) -> Process:
        command = ["-m", "ferops.local.server", f"team-{name}" if stores else name, str(port), str(socket)]
        own = _server_environment(env, name, port)
        own |= team.server_environment(name, stores, databases) if stores else {}
        return begin(f"{name}-server", command, own, keep=[socket], umask=0o077)

    prefect_server = serve("prefect", ports.prefect, sockets[0])
    if not stores:
        # Servers and stages may meet in a fresh database: make it ready before anyone opens it
        make_ready(own_database(layout))
    access.close_to_others(layout)
    mlflow_server = serve("mlflow", ports.mlflow, sockets[1])
    processes.wait_until(
        lambda: processes.answers(f"{ports.prefect_url}/api/health"), prefect_server, within_s=SERVER_WITHIN_S
    )
    _set_up(layout, ["prefect", "work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"], env)
    _set_up(layout, ["prefect", "--no-prompt", "deploy", "--all"], env)
    processes.wait_until(
        lambda: processes.answers(f"{ports.mlflow_url}/health"), mlflow_server, within_s=SERVER_WITHIN_S
    )
    prefect_api.end_orphans(layout, ports)
    since_s = time.time()
    worker = ["-m", "prefect", "worker", "start", "--pool", WORK_POOL, "--name", WORKER, "--type", "process"]
    # Prefect's own folder for flows, /tmp/runner_storage, could be another user's, and stays after a kill
    scratch, lock = lent_folder(Path(tempfile.gettempdir()), _SCRATCH)
    try:
        # The worker obeys whoever answers on Prefect's port, so it holds the port as long as it lives
        started = begin("prefect-worker", worker, env | {"TMPDIR": str(scratch)}, keep=[*sockets, lock])
    finally:
        os.close(lock)
    processes.wait_until(
        lambda: prefect_api.worker_polls(layout, ports, since_s=since_s), started, within_s=SERVER_WITHIN_S
    )


def start_stores(
    layout: Layout,
    ports: Ports,
    stores: Stores,
    *,
    env: dict[str, str],
    begin: Begin,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Start what the team stack was not given, check what it was, and return the databases' addresses by name.

    Raises:
        FeropsError: a database or the bucket cannot be used.
    """
    if stores.s3.get("AWS_ENDPOINT_URL") == ports.s3_url:
        say("Starting moto's S3 server, for a look: it asks nobody for a login, and `ferops down` empties it ...")
        s3 = begin("s3", ["-m", "moto.server", "-H", HOST, "-p", str(ports.s3)], env)
        processes.wait_until(lambda: processes.answers(ports.s3_url), s3, within_s=SERVER_WITHIN_S)
    if team.require_bucket(stores):
        say(f"Made the bucket {stores.bucket_name}")
    if stores.databases is not None:
        team.require_databases(stores.databases)
        return dict(stores.databases)
    say(f"Starting PostgreSQL in {postgres.folder(layout)} ...")
    postgres.make_cluster(layout)
    server = begin(POSTGRES, postgres.command(layout, ports), env, umask=0o077)
    return postgres.wait_and_make_databases(layout, ports, server)


def clear() -> None:
    """Remove the temporary files of workers that have ended."""
    remove_leftovers(Path(tempfile.gettempdir()), _SCRATCH)


def _stack_environment(layout: Layout, ports: Ports) -> dict[str, str]:
    """What servers, worker and flows share. The logins are in the environment, which only their owner can read."""
    root = layout.root.resolve()
    own = {name: value for name, value in child_environment().items() if name not in team.SECRETS}
    return {
        **own,
        **access.client_environment(layout, ports),
        "PREFECT_HOME": str(root / ".prefect"),  # absolute: the worker starts flows in a temporary folder
        "PREFECT_UI_STATIC_DIRECTORY": str(root / ".prefect" / "ui"),  # else Prefect writes into site-packages
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 6 s and 0.5 GB instead of 29 s and 2 GB
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST, "localhost"])),
    }


def _server_environment(env: dict[str, str], name: str, port: int) -> dict[str, str]:
    """The servers' own settings say the same as their guard: it is the second lock, not the only one."""
    origins = [*own_origins(port), *access.allowed_origins()]
    if name == "prefect":
        return env | {
            "PREFECT_SERVER_API_AUTH_STRING": env["PREFECT_API_AUTH_STRING"],
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(origins),
        }
    hosts = [urlsplit(origin).netloc for origin in origins]
    return env | {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "SAMEORIGIN",
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
