"""Registered versions: the one resolver of `models:/...`, the aliases, and a version's files.

The alias `challenger` is set by the gates; `champion`, `shadow` and `canary` by a person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ferops.errors import FeropsError
from ferops.files import sha256
from ferops.layout import Layout
from ferops.registry.connection import connect, connected, fluent, is_unanswered
from ferops.registry.signing import failed_digests
from ferops.registry.store import database, snapshot, tracking_uri
from ferops.registry.trust import read_trust, vouched_for

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SCHEME = "models:"
CHALLENGER = "challenger"
CHAMPION = "champion"
SHADOW = "shadow"
CANARY = "canary"
DIGEST_TAG = "digest"
"""The tag that holds a version's `export_digest`."""

_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/v?(?P<number>\d+))")


def set_tags(client: MlflowClient, name: str, version: str, tags: Mapping[str, str]) -> None:
    """Set tags of a version, which others may be setting at the same moment."""
    for key, value in tags.items():
        _repeated(client.set_model_version_tag, name, version, key, value)


def set_alias(client: MlflowClient, name: str, alias: str, version: str) -> None:
    """Move an alias to a version; the last one to do so has it."""
    _repeated(client.set_registered_model_alias, name, alias, version)


def _repeated(change: Callable[..., object], *arguments: str) -> None:
    """Where two set the same new thing at once, MLflow's store refuses one of them; a second try replaces it."""
    from mlflow import MlflowException

    try:
        change(*arguments)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        change(*arguments)


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
    found = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda each: int(each.version), reverse=True)
    held = holders(client, name) if found else {}
    for version in found:  # a search leaves the aliases out
        version.aliases = [alias for alias, number in held.items() if number == str(version.version)]
    return found


def holders(client: MlflowClient, name: str) -> dict[str, str]:
    """Return the aliases of a model and the versions that have them; empty without such a model."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    return {alias: str(version) for alias, version in aliases.items()}


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


def download(
    layout: Layout, client: MlflowClient, version: ModelVersion, destination: Path, *, judged: bool = False
) -> tuple[Path, str]:
    """Copy the export folder of a version below `destination`, and return the copy and the gates' verdict on it.

    Nothing is used that the project does not trust: the files are exactly those of the latest statement that a trusted
    key signed about this model, or those that a person accepted by hand (the verdict is `accepted` then).

    Args:
        judged: the gates' last verdict must not be `failed`.

    Raises:
        FeropsError: nobody trusted vouches for the version, its files are gone or other ones, or its gates failed.
    """
    exact = f"models:/{version.name}/{version.version}"
    accepted = [each.files for each in read_trust(layout).accepted if each.model == version.name]
    # Before anything is fetched from where an unknown version points to
    statement = None if accepted else vouched_for(layout, version)
    copy = copy_files(client, version, destination)
    files = file_digests(copy)
    if files in accepted:
        return copy, "accepted"
    statement = statement or vouched_for(layout, version)
    if files != statement.files:
        differing = ", ".join(sorted({name for name, _ in files.items() ^ statement.files.items()})[:3])
        raise FeropsError(
            f"the files of {exact} are not those that `ferops register` signed ({differing}): do not use them. Promote "
            "another version, or register the model again (dvc repro --single-item --force register)"
        )
    if judged and (statement.verdict == "failed" or statement.digest in failed_digests(layout)):
        failed = ", ".join(gate.name for gate in statement.gates if gate.blocks) or "in a later evaluation"
        raise FeropsError(
            f"the gates of {exact} failed ({failed}), so it is not promoted or packaged. Promote another version; or "
            "write down in params.yaml (register.overrides) why a gate may be missed, and: dvc repro register"
        )
    return copy, statement.verdict


def copy_files(client: MlflowClient, version: ModelVersion, destination: Path) -> Path:
    """Copy the export folder of a version, whatever it holds, below `destination` and return the copy.

    Raises:
        FeropsError: the files are gone.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    exact = f"models:/{version.name}/{version.version}"
    destination.mkdir(parents=True, exist_ok=True)
    try:
        with fluent(client):  # without dst_path MLflow returns the live folder of a local store
            copy = Path(download_artifacts(artifact_uri=f"{exact}/artifacts/export", dst_path=str(destination)))
    except (MlflowException, OSError) as error:
        if is_unanswered(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]  # a traceback may stand before it
        raise FeropsError(
            f"the files of {exact} cannot be fetched from {version.source} ({reason}). Were they deleted or moved? "
            "Bring them back, promote another version, or take the alias away in the MLflow UI. Only versions that "
            "`ferops register` made have files that ferops can use"
        ) from error
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
        copy, _ = download(layout, client, version, scratch / "model")
        return f"models:/{version.name}/{version.version}", copy


def file_digests(folder: Path) -> dict[str, str]:
    """Return the files below `folder`, by their paths in it, with their SHA-256 in hex."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in found}


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
