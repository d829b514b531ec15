"""The runs that a person means: by id, by name, or through the registry."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ferops.errors import FeropsError
from ferops.registry.connection import experiment_id

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SHORT_ID = 8
"""Characters of a run's id (of 32) that people are shown; a prefix of any length that fits one run is understood."""

_LISTED = 6
_REFERENCE = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<number>\d+))")


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
        FeropsError: nothing, or more than one run, goes by that name; the message lists what is near or new.
    """
    runs = all_runs(client)
    return [_find(client, text, runs, model_name=model_name) for text in wanted]


def all_runs(client: MlflowClient) -> list[Run]:
    """Return the experiment's runs, newest first, without deleted ones."""
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id(client)], order_by=["attributes.start_time DESC"], max_results=1000, page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found


def latest(runs: Sequence[Run]) -> str:
    """Return lines that list the newest of `runs`: id, name, start (UTC) and how it ended."""
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
    if text.startswith("models:"):
        return _referenced(client, text)
    exact = next((run for run in runs if run.info.run_id == text.lower()), None)
    named = next((run for run in runs if run.info.run_name == text), None)
    found = exact or named
    if found:
        return Found(found)
    number = re.fullmatch(r"v?(\d{1,6})", text)
    if number and number[1] in (known := _versions(client, model_name)):
        return _of_version(client, model_name, number[1], known)
    near = [run for run in runs if run.info.run_id.startswith(text.lower())] if text else []
    if len(near) == 1:
        return Found(near[0])
    if near:
        raise FeropsError(f"{text!r} is the beginning of {len(near)} run ids. {latest(near)}")
    raise FeropsError(_unknown(text, runs))


def _referenced(client: MlflowClient, text: str) -> Found:
    parts = _REFERENCE.fullmatch(text)
    if parts is None:
        raise FeropsError(f"{text!r} is no address of a registered model: models:/NAME@ALIAS or models:/NAME/VERSION")
    name = parts["name"]
    known = _versions(client, name)
    number = parts["number"]
    if parts["alias"]:
        number = next((version for version, aliases in known.items() if parts["alias"] in aliases), None)
    if number not in known:
        what = f"alias {parts['alias']!r}" if parts["alias"] else f"version {number}"
        listing = ", ".join(f"{version} ({' '.join(aliases) or 'no alias'})" for version, aliases in known.items())
        has = f"It has: {listing}" if known else "It has no version yet"
        raise FeropsError(f"the model {name!r} has no {what}. {has}")
    return _of_version(client, name, number, known)


def _versions(client: MlflowClient, name: str) -> dict[str, list[str]]:
    """Return the aliases of each version of the model, newest first; empty without such a model."""
    found = client.search_model_versions(f"name = '{name}'")
    if not found:
        return {}
    aliases = client.get_registered_model(name).aliases  # a search leaves them out; SQLite gives ints as versions
    numbers = sorted((str(each.version) for each in found), key=int, reverse=True)
    return {number: sorted(alias for alias, of in aliases.items() if str(of) == number) for number in numbers}


def _of_version(client: MlflowClient, name: str, number: str, known: dict[str, list[str]]) -> Found:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    run_id = str(client.get_model_version(name, number).run_id)
    try:
        return Found(client.get_run(run_id), version=(name, " ".join([number, *known[number]])))
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        raise FeropsError(f"the run {run_id} of {name} version {number} is not in this store any more") from error


def _unknown(text: str, runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.info.run_name for run in runs))
    close = difflib.get_close_matches(text, names, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    wanted = "a run's id or its beginning, a run's name, a version number, or models:/NAME@ALIAS"
    return f"no run goes by {text!r}.{hint} Wanted: {wanted}. {latest(runs)}"
