"""The registry of a team stack, with lines between its parts that can be cut: the servers as `ferops up` starts them.

Prefect and its worker are left out; they have no part in a registration.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import access, postgres, processes, start, team
from ferops.local.ports import HOST, Ports, listen
from ferops.local.processes import Process
from ferops.local.team import Stores
from lines import Line
from registry_project import make_project, params_tree
from servers import s3_server
from sockets import free_port
from stacks import free_ports

needs_team = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("boto3", "moto", "psycopg"))),
    reason="needs the extras team and dev: make install",
)


@dataclass
class TeamRegistry:
    """A project that is ready to register, and its registry.

    Attributes:
        to_database, to_store: between the MLflow server and PostgreSQL or the S3 server.
        to_registry: between clients and the MLflow server.
        environment: with which clients reach it.
        s3: the address of the S3 server itself.
    """

    layout: Layout
    ports: Ports
    stores: Stores
    to_database: Line
    to_store: Line
    to_registry: Line
    environment: dict[str, str]
    s3: str
    database: Process
    server: Process

    def kill_database(self) -> None:
        """SIGKILL to PostgreSQL and its children: what was not written is lost."""
        leader = psutil.Process(self.database.pid)
        family = [leader, *leader.children(recursive=True)]
        for each in family:
            each.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=30)

    def start_database(self) -> None:
        self.database = postgres.start(self.layout, self.ports)
        postgres.wait_and_make_databases(self.layout, self.ports, self.database)


@contextmanager
def team_registry() -> Iterator[TeamRegistry]:
    try:
        postgres.programs()
    except FeropsError as error:
        pytest.skip(str(error))
    # PostgreSQL's user must reach it, and pytest's own folders are closed to others
    folder = Path(tempfile.mkdtemp(prefix="ferops-faults-"))
    folder.chmod(0o711)
    layout = Layout(folder / "project")
    make_project(layout)
    layout.params_file.write_text(json.dumps(params_tree()), encoding="utf-8")  # JSON is YAML
    ports = replace(free_ports(), mlflow=free_port())
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(shutil.rmtree, folder)
        for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "AWS_", "FEROPS_"))]:
            patch.delenv(name)
        s3 = stack.enter_context(s3_server())
        store = urlsplit(s3).port
        assert store is not None
        to_database, to_store, to_registry = (
            stack.enter_context(closing(Line(port))) for port in (ports.postgres, store, ports.mlflow)
        )
        patch.setenv(access.ORIGINS_VARIABLE, f"http://{HOST}:{to_registry.port}")
        keys = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "any")
        stores = Stores(
            None,
            "s3://ferops",
            {"AWS_DEFAULT_REGION": team.REGION, "AWS_ENDPOINT_URL": f"http://{HOST}:{to_store.port}", **keys},
        )
        team.require_bucket(stores)
        postgres.make_cluster(layout)
        database = postgres.start(layout, ports)
        stack.callback(lambda: processes.stop([registry.database]))
        postgres.wait_and_make_databases(layout, ports, database)
        addresses = postgres.addresses(layout, replace(ports, postgres=to_database.port))
        environment = start._server_environment(start._stack_environment(layout, ports), "mlflow", ports.mlflow)
        environment |= team.server_environment("mlflow", stores, addresses)
        with closing(listen(ports.mlflow, variable="FEROPS_MLFLOW_PORT", what="the MLflow server")) as socket:
            command = [sys.executable, "-m", "ferops.local.server", "team-mlflow", str(ports.mlflow)]
            server = processes.start(
                "mlflow-server",
                [*command, str(socket.fileno())],
                cwd=layout.root,
                env=environment,
                log=layout.state / "logs" / "mlflow-server.log",
                keep=[socket.fileno()],
            )
        stack.callback(processes.stop, [server])
        processes.wait_until(lambda: processes.answers(f"{ports.mlflow_url}/health"), server, within_s=600)
        clients = access.client_environment(layout, replace(ports, mlflow=to_registry.port))
        clients = {name: value for name, value in clients.items() if name.startswith("MLFLOW_")}
        registry = TeamRegistry(
            layout, ports, stores, to_database, to_store, to_registry, clients, s3, database=database, server=server
        )
        for name, value in clients.items():
            patch.setenv(name, value)
        yield registry
