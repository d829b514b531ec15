"""What a person decides about versions: which one is champion, which ones are accepted; and the champion's files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ferops.config import Params
from ferops.layout import Layout
from ferops.model_config import ExportConfig, read_model_config
from ferops.records.register import Promotion
from ferops.records.signature import AcceptedVersion
from ferops.registry.connection import connected
from ferops.registry.store import has_store
from ferops.registry.tracking import user_name
from ferops.registry.trust import add_accepted
from ferops.registry.versions import (
    CHAMPION,
    champion_version,
    copy_files,
    download,
    file_digests,
    resolve,
    set_alias,
    set_tags,
)
from ferops.scratch import scratch_folder


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
            tags = {"promoted_from": before or "none", "promoted_at": promoted_at, "promoted_by": user_name()}
            set_tags(client, name, wanted, tags)
            set_alias(client, name, CHAMPION, wanted)
    return Promotion(
        model=name,
        champion=wanted,
        promoted_from=before,
        changed=before != wanted,
        gates=gates,
        synthetic=synthetic,
    )


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


def champion_number(layout: Layout, params: Params) -> str | None:
    """Return which version is champion, without its files; None without a champion.

    Raises:
        FeropsError: the registry cannot be reached.
    """
    if not has_store(layout):
        return None
    with connected(layout) as client:
        holder = champion_version(client, params.registry.model_name)
        return None if holder is None else str(holder.version)


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
