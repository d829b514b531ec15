"""What a person decides about versions: which ones have the aliases, which are accepted; and the files of these."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import ExportConfig, read_model_config
from ferops.records.register import Promotion
from ferops.records.rollout import CanaryEnd, Placement
from ferops.records.signature import AcceptedVersion
from ferops.registry.connection import connected
from ferops.registry.store import has_store
from ferops.registry.tracking import user_name
from ferops.registry.trust import add_accepted
from ferops.registry.versions import (
    CANARY,
    CHAMPION,
    champion_version,
    copy_files,
    download,
    file_digests,
    holders,
    resolve,
    set_alias,
    set_tags,
)
from ferops.scratch import scratch_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

STACK_LOGIN = "ferops"
"""As `ferops.local.access.USER`, which this package may not import."""

_SETTLES_S, _SLOWER = 0.2, 4
"""How long after a promotion others that began before it may still move the alias: at least, and times what looking and
moving took here. A busy server is slow for all of them."""


def promote(layout: Layout, params: Params, version: str) -> Promotion:
    """Move the alias champion to `version` ("3" or "v3") and record by whom, when and from which version.

    Promoting the champion again changes nothing.

    Raises:
        FeropsError: there is no such version (the message lists those that exist), or it could not be packaged: its
            files are gone or other ones, nobody trusted vouches for it, or its gates failed.
    """
    name = params.registry.model_name
    with connected(layout) as client:
        chosen = resolve(client, f"models:/{name}/{version}")
        wanted = str(chosen.version)  # SQLite gives an int, the server a string
        with scratch_folder(layout.state, "version") as scratch:
            copy, gates = download(layout, client, chosen, scratch / "model", judged=True)
            synthetic = read_model_config(copy, ExportConfig).provenance.synthetic
        former = champion_version(client, name)
        before = str(former.version) if former else None
        if before != wanted:
            promoted_at = datetime.now(UTC).isoformat(timespec="seconds")
            # With a login of one's own (ferops member) that is who promotes; that of the stack says less than the user
            who = os.environ.get("MLFLOW_TRACKING_USERNAME", STACK_LOGIN)
            who = user_name() if who == STACK_LOGIN else who
            tags = {"promoted_from": before or "none", "promoted_at": promoted_at, "promoted_by": who}
            with _permitted():
                _crown(client, name, wanted, former=before)
                set_tags(client, name, wanted, tags)  # not before: who was overtaken has promoted nothing
    return Promotion(
        model=name,
        champion=wanted,
        promoted_from=before,
        changed=before != wanted,
        gates=gates,
        synthetic=synthetic,
    )


def _crown(client: MlflowClient, name: str, version: str, *, former: str | None) -> None:
    """Move the alias champion from `former` to `version`, and be told if somebody else moves it at the same moment.

    MLflow moves an alias whoever had it. Of several who promote at once the last one's version is champion, and the
    others must not believe it is theirs: each looks just before it moves the alias, and again when whoever looked
    before that has moved it, too.
    """
    start = time.monotonic()
    _require_champion(client, name, version, former)
    set_alias(client, name, CHAMPION, version)
    time.sleep(max(_SETTLES_S, _SLOWER * (time.monotonic() - start)))
    _require_champion(client, name, version)


def _require_champion(client: MlflowClient, name: str, wanted: str, *or_former: str | None) -> None:
    now = holders(client, name).get(CHAMPION)
    if now not in (wanted, *or_former):
        raise FeropsError(
            f"somebody else promoted at the same moment: {f'version {now}' if now else 'no version'} is champion now, "
            f"not {wanted}. Agree with them, then, if need be, run the same command again"
        )


def place(layout: Layout, params: Params, version: str, alias: Literal["shadow", "canary"]) -> Placement:
    """Let `version` ("3" or "v3") run beside the champion, and record by whom and since when.

    Raises:
        FeropsError: there is no champion, `version` is the champion, or as `promote`.
    """
    name = params.registry.model_name
    with connected(layout) as client:
        wanted = str((chosen := resolve(client, f"models:/{name}/{version}")).version)
        held = holders(client, name)
        if held.get(CHAMPION, wanted) == wanted:
            found = f"version {wanted} is champion itself" if CHAMPION in held else "no version is champion"
            raise FeropsError(
                f"{found}, so there is nothing for a {alias} to run beside. Promote one (ferops promote VERSION), and "
                f"give another one the alias: ferops promote VERSION --as {alias}"
            )
        with scratch_folder(layout.state, "version") as scratch:
            _, gates = download(layout, client, chosen, scratch / "model", judged=True)
        before = held.get(alias)
        if before != wanted:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            with _permitted():
                set_tags(client, name, wanted, {f"{alias}_since": at, f"{alias}_by": user_name()})
                set_alias(client, name, alias, wanted)
    return Placement(model=name, alias=alias, version=wanted, before=before, changed=before != wanted, gates=gates)


def withdraw(layout: Layout, params: Params, alias: Literal["shadow", "canary"]) -> str:
    """Take an alias away, and return the version that held it.

    Raises:
        FeropsError: no version holds it.
    """
    name = params.registry.model_name
    with connected(layout) as client:
        version = holders(client, name).get(alias)
        if version is None:
            raise FeropsError(
                f"no version of {name} has the alias {alias}. Give it one: ferops promote VERSION --as {alias}"
            )
        with _permitted():
            client.delete_registered_model_alias(name, alias)
    return version


def note_canary_end(layout: Layout, params: Params, ended: CanaryEnd) -> None:
    """Tag the version with when and why its canary was ended, and take the alias away, unless it has moved on since.

    Raises:
        FeropsError: the registry cannot be reached.
    """
    name = params.registry.model_name
    with connected(layout) as client:
        tags = {
            "canary_ended_at": ended.at.isoformat(timespec="seconds"),
            "canary_ended_by": ended.reason,
            "canary_ended_because": ended.said,
        }
        set_tags(client, name, ended.version, tags)
        if holders(client, name).get(CANARY) == ended.version:
            client.delete_registered_model_alias(name, CANARY)


@contextmanager
def _permitted() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "PERMISSION_DENIED":
            raise
        raise FeropsError(
            f"the login {os.environ.get('MLFLOW_TRACKING_USERNAME')!r} may not do that here; nothing was changed. A "
            "reviewer may promote, the stack's own login everything (docs/team.md)"
        ) from error


def champion(layout: Layout, params: Params, destination: Path, *, judged: bool = False) -> tuple[str, Path] | None:
    """Copy the champion's export folder below `destination`; return its version and the copy, or None without champion.

    Args:
        judged: the gates' last verdict on it must not be `failed`.

    Raises:
        FeropsError: as `ferops.registry.versions.download`.
    """
    if not has_store(layout):
        return None
    with connected(layout) as client:
        holder = champion_version(client, params.registry.model_name)
        if holder is None:
            return None
        copy, _ = download(layout, client, holder, destination, judged=judged)
        return str(holder.version), copy


def files_of(layout: Layout, params: Params, version: str, destination: Path) -> Path:
    """Copy the export folder of a version, whose gates did not fail, below `destination`; return the copy.

    Raises:
        FeropsError: there is no such version, or as `ferops.registry.versions.download`.
    """
    with connected(layout) as client:
        chosen = resolve(client, f"models:/{params.registry.model_name}/{version}")
        return download(layout, client, chosen, destination, judged=True)[0]


def aliases(layout: Layout, params: Params) -> dict[str, str]:
    """Return the aliases of the project's model and the versions that have them; empty without a store.

    Raises:
        FeropsError: the registry cannot be reached.
    """
    if not has_store(layout):
        return {}
    with connected(layout) as client:
        return holders(client, params.registry.model_name)


def accept(layout: Layout, params: Params, version: str) -> AcceptedVersion:
    """Let the project use `version` ("3" or "v3") from now on, by a person's word, whoever signed it.

    Raises:
        FeropsError: there is no such version, or it has no files.
    """
    with (
        connected(layout) as client,
        scratch_folder(layout.state, "version") as scratch,
    ):
        chosen = resolve(client, f"models:/{params.registry.model_name}/{version}")
        return add_accepted(layout, chosen, file_digests(copy_files(client, chosen, scratch / "model")))
