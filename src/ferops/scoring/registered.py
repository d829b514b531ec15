"""A model version of the registry, fetched without leaving a trace in it."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.registry.connection import connected, database, fluent, tracking_uri
from ferops.registry.stage import DIGEST_TAG, export_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SCHEME = "models:"
_URI = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/v?(?P<version>\d+))")


def fetch(layout: Layout, uri: str, scratch: Path) -> tuple[str, Path]:
    """Copy the export folder of a model version below `scratch`; return `models:/NAME/VERSION` and the copy.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.

    Raises:
        FeropsError: another URI, no store or no such version there, its files are gone or not those that were
            registered, or the server does not answer.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise FeropsError(f"{uri} names no version: write models:/NAME@ALIAS or models:/NAME/VERSION")
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with _reading(layout, scratch) as client:
        version = _version(client, found["name"], alias=found["alias"], number=found["version"], uri=uri)
        exact = f"models:/{version.name}/{version.version}"
        try:
            with fluent(client):
                where = str(scratch / "model")
                copy = Path(download_artifacts(artifact_uri=f"{exact}/artifacts/export", dst_path=where))
        except (MlflowException, OSError) as error:
            raise FeropsError(
                f"the files of {exact} cannot be fetched from {version.source} ({error}). Were they deleted or moved? "
                "Only versions that `ferops register` made can be scored"
            ) from error
    if export_digest(copy) != version.tags.get(DIGEST_TAG):
        raise FeropsError(
            f"the files of {exact} are not those that `ferops register` recorded (tag {DIGEST_TAG}): do not trust them"
        )
    return exact, copy


@contextmanager
def _reading(layout: Layout, scratch: Path) -> Iterator[MlflowClient]:
    """Yield a client of the store. MLflow migrates a database that it opens and makes one that is missing, so a SQLite
    file is copied first, and the copy is opened."""
    uri = tracking_uri(layout)
    if uri.startswith("sqlite:"):
        _snapshot(database(uri), scratch / "mlflow.db")
        with _tracking(f"sqlite:///{scratch / 'mlflow.db'}"), connected(Layout(scratch)) as client:
            yield client
    else:
        with connected(layout) as client:
            yield client


def _snapshot(store: Path, copy: Path) -> None:
    if not store.exists():
        raise FeropsError(
            f"{store} does not exist: there is no model registry here. Run the command in the project's folder, set "
            "MLFLOW_TRACKING_URI to the registry's address, or name a model folder instead"
        )
    try:
        # Read-only, and through SQLite: a copy of the file could be half of what somebody is writing
        with (
            closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise FeropsError(f"{store} cannot be read as an MLflow database ({error})") from error
    stamp = store.with_name(f"{store.name}.schema")
    if stamp.exists():  # else the copy is migrated, which takes seconds
        shutil.copyfile(stamp, copy.with_name(f"{copy.name}.schema"))


@contextmanager
def _tracking(uri: str) -> Iterator[None]:
    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MLFLOW_TRACKING_URI")
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _version(client: MlflowClient, name: str, *, alias: str | None, number: str | None, uri: str) -> ModelVersion:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        if alias is not None:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, str(number))
    except MlflowException as error:
        # No such model, version or alias; anything else is a failure
        if error.error_code not in (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)):
            raise
        raise FeropsError(f"the registry has no {uri}. {_inventory(client)}") from error


def _inventory(client: MlflowClient) -> str:
    known = []
    for model in client.search_registered_models():
        aliases = [f"@{alias}" for alias in sorted(model.aliases)]
        versions = [f"/{each.version}" for each in client.search_model_versions(f"name = '{model.name}'")]
        known += [f"models:/{model.name}{each}" for each in [*aliases, *sorted(versions, key=lambda v: int(v[1:]))]]
    if not known:
        return "It holds no model yet: a candidate that passes its gates becomes the first version (dvc repro)"
    return f"It has: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}"
