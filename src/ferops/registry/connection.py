"""Connecting to MLflow: the store is made ready first, and a server that does not answer becomes a clear error.

Without MLFLOW_TRACKING_URI the store is `<root>/mlflow.db` with the artifacts in `<root>/mlruns`. A server over both
(`mlflow server --backend-store-uri sqlite:///mlflow.db --default-artifact-root file://<root>/mlruns`) shows what was
written directly, and the reverse, because both sides record artifacts under their path on this machine. A server
started with --artifacts-destination alone records `mlflow-artifacts:` locations, which only its own clients can read.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ferops.errors import FeropsError, RegistryAwayError
from ferops.layout import Layout
from ferops.registry.store import database, follow_project, make_ready, own_database, tracking_uri
from ferops.registry.trouble import explain, explained, is_locked

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "ferops"
"""The one MLflow experiment that holds the runs of this pipeline."""

SERVER_ANSWERS_WITHIN_S = 4.0
CLOCKS_WITHIN_S = 300.0
"""Farther apart than this, the clocks of this machine and the server's are worth a word."""

_PATIENCE_S = {True: 6, False: 20}
"""What a request may take, by whether the server is on this machine; one elsewhere may pass on an upload first. With
the retries, a server that hangs is given up after 25 s, or a minute."""

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that dies or hangs in the middle of a run: seconds of retries, where MLflow's default is minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}

_CHATTY = (
    "mlflow.system_metrics.system_metrics_monitor",
    "mlflow.models.signature",
    "mlflow.store.model_registry.abstract_store",
)
"""Loggers that report every start and stop, that a given schema was not inferred, and a wait that is none."""

log = logging.getLogger(__name__)


def connect(layout: Layout, *, uri: str | None = None) -> MlflowClient:
    """Return a client, for runs and registry alike, of the store that `uri` or else MLFLOW_TRACKING_URI names, or of
    the project's own.

    Raises:
        FeropsError: the server does not answer within SERVER_ANSWERS_WITHIN_S, MLflow cannot use the address, or the
            local database cannot be made ready.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    uri = uri or tracking_uri(layout)
    if uri.startswith(("http://", "https://")):
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_PATIENCE_S[_on_this_machine(uri)]))
        _require_answer(uri)
        follow_project(layout)
    elif uri.startswith("sqlite:"):
        make_ready(database(uri))
    elif "://" not in uri or uri.startswith("file:"):
        raise FeropsError(
            f"MLFLOW_TRACKING_URI is {uri!r}, a folder: MLflow no longer keeps runs in folders. Unset it to use "
            f"{own_database(layout)}, or name a server (http://...) or a database (sqlite:///...)"
        )
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def connected(layout: Layout, *, kept: str = "Nothing is lost") -> Iterator[MlflowClient]:
    """Yield a client as `connect` returns it; a server that goes away within the block becomes one FeropsError.

    Args:
        layout: the project's folders.
        kept: a sentence, without its full stop, on what outlives the loss of the server.

    Raises:
        FeropsError: as `connect`, or the server no longer answers or refuses the login, or the database is locked.
            Other errors that the server answers pass as they are.
    """
    client = connect(layout)
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield client
    except (MlflowException, RequestException) as error:
        message = _explained(error, layout, client, kept)
        if message is None:
            raise
        raise RegistryAwayError(message) from error


def _explained(error: Exception, layout: Layout, client: MlflowClient, kept: str) -> str | None:
    uri = client.tracking_uri
    store = database(uri) if uri.startswith("sqlite:") else own_database(layout)
    if is_locked(str(error)):
        return f"{explain(store, str(error))}. {kept}"
    status = _failed_with(error)
    if status is not None or (is_unanswered(error) and uri.startswith("http") and _is_up(uri)):
        how = f"answers with errors (status {status})" if status is not None else "no longer answers requests"
        return (
            f"the MLflow server at MLFLOW_TRACKING_URI={uri} runs, but {how}. Most often its database or its store of "
            "artifacts is away or full; its log says which (.ferops/logs/mlflow-server.log where `ferops up` was run). "
            f"{kept}. Bring that back, then run the same command again"
        )
    if is_unanswered(error):
        return (
            f"the MLflow server at MLFLOW_TRACKING_URI={uri} no longer answers. {kept}. Start the server again "
            "(make down up), or unset MLFLOW_TRACKING_URI to work with the project's own mlflow.db; then run the same "
            "command again"
        )
    if getattr(error, "error_code", "") in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return (
            f"the MLflow server at MLFLOW_TRACKING_URI={uri} refuses the login. {kept}. If it is that of `make up`: "
            'eval "$(ferops env)" in the project\'s folder; for another one set MLFLOW_TRACKING_USERNAME and '
            "MLFLOW_TRACKING_PASSWORD"
        )
    return None


def is_unanswered(error: BaseException | None) -> bool:
    """Whether a request without an answer led to `error`; MLflow wraps those of requests in exceptions of its own."""
    from requests import RequestException

    while error is not None:
        if isinstance(error, RequestException) and error.response is None:
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_up(uri: str) -> bool:
    try:
        _require_answer(uri)
    except RegistryAwayError:
        return False
    return True


def _failed_with(error: BaseException | None) -> int | None:
    """Return the status if the server answered with errors of its own until MLflow's client gave up."""
    while error is not None:
        if found := re.search(r"too many (5\d\d) error responses|failed with error code (5\d\d)", str(error)):
            return int(found[1] or found[2])
        error = error.__cause__ or error.__context__
    return None


def experiment_id(client: MlflowClient) -> str:
    """Return the id of EXPERIMENT, which is made on first use.

    Raises:
        FeropsError: the experiment was deleted, or a server owns its artifacts and the client goes past that server.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=_artifact_location(client)))
        except MlflowException:  # another process made it in between
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise FeropsError(
            f"the MLflow experiment {EXPERIMENT!r} was deleted. Bring it back: "
            f"mlflow experiments restore --experiment-id {found.experiment_id}"
        )
    if found.artifact_location.startswith("mlflow-artifacts:") and not client.tracking_uri.startswith("http"):
        raise FeropsError(
            f"the artifacts of the experiment {EXPERIMENT!r} in {client.tracking_uri} belong to an MLflow server "
            f"({found.artifact_location}) and cannot be reached without it. Start it (make up) and set "
            "MLFLOW_TRACKING_URI to its address"
        )
    return str(found.experiment_id)


def experiment_in(store: Path) -> str | None:
    """Return the id of EXPERIMENT in a SQLite store, or None; without MLflow, whose import takes seconds."""
    with explained(store), closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT experiment_id FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone()
    return None if found is None else str(found[0])


@contextmanager
def fluent(client: MlflowClient) -> Iterator[None]:
    """Point MLflow's global functions, which a SQL store needs, at the client's store for the length of the block."""
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    mlflow.set_tracking_uri(client.tracking_uri)
    mlflow.set_registry_uri(client.tracking_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # back to the environment's
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]
        for name, value in before.items():  # set_tracking_uri exports its value to child processes
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _artifact_location(client: MlflowClient) -> str | None:
    """A folder beside a SQLite database; for a server None, its own choice."""
    uri = client.tracking_uri
    return (database(uri).parent / "mlruns" / EXPERIMENT).as_uri() if uri.startswith("sqlite:") else None


def _on_this_machine(uri: str) -> bool:
    return urlsplit(uri).hostname in ("127.0.0.1", "localhost", "::1")


def _note_clock(date: str | None) -> None:
    """Say so where this machine's clock and the server's, from its header Date, are far apart."""
    try:
        ahead_s = time.time() - parsedate_to_datetime(date or "").timestamp()
    except ValueError:  # none
        return
    if abs(ahead_s) > CLOCKS_WITHIN_S:
        log.warning(
            "this machine's clock is %.0f minutes %s the MLflow server's: times in runs and versions will be wrong. "
            "Set it (NTP)",
            abs(ahead_s) / 60,
            "ahead of" if ahead_s > 0 else "behind",
        )


def _require_answer(uri: str) -> None:
    problem = ""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=SERVER_ANSWERS_WITHIN_S) as reply:
            _note_clock(reply.headers.get("Date"))
    except urllib.error.HTTPError as error:
        # 401 and 403: somebody is there and wants credentials, which MLflow's client sends and this probe does not
        if error.code not in (401, 403):
            problem = f"it answers {error.code} {error.reason}: is it an MLflow server?"
        error.close()
    except (OSError, ValueError) as error:  # URLError and TimeoutError are OSErrors
        problem = str(getattr(error, "reason", error))
    if problem:
        raise RegistryAwayError(
            f"no MLflow server at MLFLOW_TRACKING_URI={uri} ({problem}). Start it (make up), or unset "
            "MLFLOW_TRACKING_URI to work with the project's own mlflow.db"
        )
