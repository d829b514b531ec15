"""The runs that a person means: by id, by name, or through the registry."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ferops.errors import FeropsError
from ferops.registry.tracking import all_runs
from ferops.registry.versions import SCHEME, all_versions, resolve

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

SHORT_ID = 8
"""Characters of a run's id (of 32) that people are shown; a prefix of any length that fits one run is understood."""

_LISTED = 6


@dataclass(frozen=True)
class Found:
    """A run, and the registered version it was found through (`name`, number), if any."""

    run: Run
    version: tuple[str, str] | None = None


def find_runs(client: MlflowClient, wanted: Sequence[str], *, model_name: str) -> list[Found]:
    """Return the runs that `wanted` names, in its order.

    Each is a run's id or a prefix of it, a run's name (the newest one that has it), `models:/NAME@ALIAS`,
    `models:/NAME/3`, or the number of a version of `model_name` (`3` or `v3`). A number is a version before it is a
    prefix.

    Raises:
        FeropsError: no run, or more than one, has that name; the message lists similar names and the latest runs.
    """
    runs = all_runs(client)
    return [_find(client, text, runs, model_name=model_name) for text in wanted]


def latest(runs: Sequence[Run]) -> str:
    """Return lines that list the newest of `runs`: id, name, start (UTC) and status."""
    if not runs:
        return "There is no run yet; a training makes one: dvc repro, or ferops train NAME"
    lines = [
        f"  {run.info.run_id[:SHORT_ID]}  {run.info.run_name:<16}  {started(run):%Y-%m-%d %H:%M}  "
        f"{run.info.status.lower()}"
        for run in runs[:_LISTED]
    ]
    more = [f"  and {len(runs) - _LISTED} older ones"] if len(runs) > _LISTED else []
    return "\n".join(["The latest runs (UTC):", *lines, *more])


def started(run: Run) -> datetime:
    return datetime.fromtimestamp(run.info.start_time / 1000, UTC)


def _find(client: MlflowClient, text: str, runs: Sequence[Run], *, model_name: str) -> Found:
    if text.startswith(SCHEME):
        return _of_version(client, resolve(client, text))
    exact = next((run for run in runs if run.info.run_id == text.lower()), None)
    named = next((run for run in runs if run.info.run_name == text), None)
    found = exact or named
    if found:
        return Found(found)
    if number := re.fullmatch(r"v?(\d{1,6})", text):
        for version in all_versions(client, model_name):
            if str(version.version) == number[1]:
                return _of_version(client, version)
    near = [run for run in runs if run.info.run_id.startswith(text.lower())] if text else []
    if len(near) == 1:
        return Found(near[0])
    if near:
        raise FeropsError(f"{text!r} is the beginning of {len(near)} run ids. {latest(near)}")
    raise FeropsError(_unknown(text, runs))


def _of_version(client: MlflowClient, version: ModelVersion) -> Found:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        run = client.get_run(str(version.run_id))
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        raise FeropsError(
            f"the run {version.run_id} of {version.name} version {version.version} is no longer in this store"
        ) from error
    return Found(run, version=(version.name, " ".join([str(version.version), *sorted(version.aliases)])))


def _unknown(text: str, runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.info.run_name for run in runs))
    close = difflib.get_close_matches(text, names, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    wanted = "a run's id or its beginning, a run's name, a version number, or models:/NAME@ALIAS"
    return f"there is no run {text!r}.{hint} Give {wanted}. {latest(runs)}"
