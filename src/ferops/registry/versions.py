"""Registered versions: the one resolver of `models:/...`, the two aliases, and a version's files.

The alias `challenger` is set by the gates, `champion` by a person.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.registry.connection import connect, connected, fluent
from ferops.registry.store import database, snapshot, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SCHEME = "models:"
CHALLENGER = "challenger"
CHAMPION = "champion"
DIGEST_TAG = "digest"
"""The tag that holds a version's `export_digest`."""

_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/v?(?P<number>\d+))")


def resolve(client: MlflowClient, address: str) -> ModelVersion:
    """Return the version at `models:/NAME@ALIAS`, `models:/NAME/3` or `models:/NAME/v3`, its aliases included.

    Raises:
        FeropsError: another address, or no such version; the message lists those that exist.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise FeropsError(f"{address!r} names no version. Write models:/NAME@ALIAS or models:/NAME/VERSION")
    known = all_versions(client, parts["name"])
    for version in known:
        if parts["alias"] in version.aliases or parts["number"] == str(version.version):
            return version
    if known:
        has = ", ".join(f"{each.version} ({' '.join(each.aliases) or 'no alias'})" for each in known)
        raise FeropsError(f"the registry has no {address}. The model {parts['name']} has: {has}")
    models = ", ".join(sorted(model.name for model in client.search_registered_models()))
    raise FeropsError(
        f"the registry has no {address}. "
        + (
            f"Its models are: {models}"
            if models
            else "It is empty; a candidate that passes its gates becomes the first version: dvc repro"
        )
    )


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return the versions of a model, newest first, with their aliases; empty without such a model."""
    # A search leaves the aliases out; asking for one version fills them in
    found = [
        client.get_model_version(name, str(each.version)) for each in client.search_model_versions(f"name = '{name}'")
    ]
    return sorted(found, key=lambda version: int(version.version), reverse=True)


def champion_version(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the version that has the alias champion, or None (no such model, or nothing promoted yet)."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)):
            return None
        raise


def download(client: MlflowClient, version: ModelVersion, destination: Path) -> Path:
    """Copy the export folder of a version below `destination` and return the copy.

    Raises:
        FeropsError: the files are gone, or not those that were registered.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    exact = f"models:/{version.name}/{version.version}"
    destination.mkdir(parents=True, exist_ok=True)
    try:
        with fluent(client):  # without dst_path MLflow returns the live folder of a local store
            copy = Path(download_artifacts(artifact_uri=f"{exact}/artifacts/export", dst_path=str(destination)))
    except (MlflowException, OSError) as error:
        raise FeropsError(
            f"the files of {exact} cannot be fetched from {version.source} ({error}). Were they deleted or moved? "
            "Only versions that `ferops register` made have them"
        ) from error
    if export_digest(copy) != version.tags.get(DIGEST_TAG):
        raise FeropsError(
            f"the files of {exact} are not those that `ferops register` recorded (tag {DIGEST_TAG}): do not trust "
            "them. Use another version; to promote one: ferops promote VERSION"
        )
    return copy


def fetch(layout: Layout, address: str, scratch: Path) -> tuple[str, Path]:
    """Copy a version's export folder below `scratch` without changing anything in the store.

    Returns:
        `models:/NAME/VERSION` and the copy.

    Raises:
        FeropsError: as `resolve` and `download`; there is no store, or the server does not answer.
    """
    with _reading(layout, scratch) as client:
        version = resolve(client, address)
        return f"models:/{version.name}/{version.version}", download(client, version, scratch / "model")


def export_digest(folder: Path) -> str:
    """Return the SHA-256 of an export folder, without the `provenance` in config.json: every commit changes it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "config.json":
            config = json.loads(content)
            config.pop("provenance", None)
            content = json.dumps(config, sort_keys=True).encode()
        digest.update(f"{path.relative_to(folder).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


@contextmanager
def _reading(layout: Layout, scratch: Path) -> Iterator[MlflowClient]:
    """Yield a client of the store, or of a copy of a SQLite store: MLflow migrates each database that it opens."""
    uri = tracking_uri(layout)
    if not uri.startswith("sqlite:"):
        with connected(layout) as client:
            yield client
        return
    copy = scratch.resolve() / "mlflow.db"
    snapshot(database(uri), copy)
    yield connect(layout, uri=f"sqlite:///{copy}")
