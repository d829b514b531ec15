"""`python -m ferops.local.server NAME PORT FD`: a server behind its guard, as `ferops up` starts it.

`NAME` is `prefect`, `mlflow`, or with `team-` before it that of a team stack.

`FD` is the listening socket. `ferops up` opens it, and the worker holds it too: the port stays the stack's even if the
server dies, so that no other user can take it and give orders to the worker. Secrets come in the environment, never on
the command line, which everybody can read.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ferops.config import load_params
from ferops.layout import Layout
from ferops.local import members, team
from ferops.local.access import allowed_origins
from ferops.local.announce import Announce, run_package
from ferops.local.guard import Guard
from ferops.private import password
from ferops.registry.store import own_database


def main() -> None:
    name, port, descriptor = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if name.endswith("prefect"):  # which asks for PREFECT_SERVER_API_AUTH_STRING itself
        app, login = _prefect(), None
    elif name == "team-mlflow":  # whose auth app asks
        app, login = _team_mlflow(), None
    else:
        app = _mlflow()
        login = f"{os.environ['MLFLOW_TRACKING_USERNAME']}:{os.environ['MLFLOW_TRACKING_PASSWORD']}"
    guarded = Guard(app, port=port, origins=allowed_origins(), login=login)
    config = uvicorn.Config(guarded, log_level="info", access_log=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


def _prefect() -> ASGIApp:
    """What `prefect server start` serves; its settings come from the environment."""
    from prefect.server.api.server import create_app

    return create_app(final=True)


def _mlflow() -> ASGIApp:
    """What `mlflow server --no-serve-artifacts` serves over the project's own store."""
    from mlflow.server import constants

    layout = Layout(Path.cwd())
    store, artifacts = f"sqlite:///{own_database(layout)}", (layout.root / "mlruns").as_uri()
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    # Artifacts are recorded under their path on this machine, so that clients with and without the server agree
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artifacts
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(store, store, artifacts)
    return Announce(app, partial(run_package, layout))


def _team_mlflow() -> ASGIApp:
    """What `mlflow server --artifacts-destination s3://...` serves over PostgreSQL: its clients need no key of S3."""
    from mlflow.server import constants

    database, root = os.environ[team.database_variable("mlflow")], "mlflow-artifacts:/"
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = database
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = root
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = f"{os.environ[team.S3]}/mlflow"
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    _migrate(database)
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(database, database, root)
    layout = Layout(Path.cwd())
    app = members.protected(
        database,
        password=os.environ["MLFLOW_TRACKING_PASSWORD"],
        csrf_key=password(layout, "mlflow-csrf"),
        model=load_params(layout.params_file).registry.model_name,
    )
    return Announce(app, partial(run_package, layout))


def _migrate(database: str) -> None:
    """As `mlflow db upgrade`, whose command line would show the password to everybody."""
    from mlflow.store.db import utils as untyped

    utils: Any = untyped
    engine = utils.create_sqlalchemy_engine_with_retry(database)
    if utils._is_empty_database(engine):
        utils._initialize_tables(engine)
    else:
        utils._upgrade_db(engine)
    engine.dispose()


if __name__ == "__main__":
    main()
