"""The alias `champion`: how a person moves it, and the files of the version that has it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ferops.config import Params
from ferops.layout import Layout
from ferops.records.register import Promotion
from ferops.registry.connection import connected
from ferops.registry.store import has_store
from ferops.registry.tracking import user_name
from ferops.registry.versions import CHAMPION, champion_version, download, resolve


def promote(layout: Layout, params: Params, version: str) -> Promotion:
    """Move the alias champion to `version` ("3" or "v3") and record by whom, when and from which version.

    Promoting the champion again changes nothing.

    Raises:
        FeropsError: there is no such version; the message lists those that exist.
    """
    name = params.registry.model_name
    with connected(layout) as client:
        chosen = resolve(client, f"models:/{name}/{version}")
        wanted = str(chosen.version)  # SQLite gives an int, the server a string
        former = champion_version(client, name)
        before = str(former.version) if former else None
        if before != wanted:
            promoted_at = datetime.now(UTC).isoformat(timespec="seconds")
            client.set_model_version_tag(name, wanted, "promoted_from", before or "none")
            client.set_model_version_tag(name, wanted, "promoted_at", promoted_at)
            client.set_model_version_tag(name, wanted, "promoted_by", user_name())
            client.set_registered_model_alias(name, CHAMPION, wanted)
    return Promotion(
        model=name,
        champion=wanted,
        promoted_from=before,
        changed=before != wanted,
        gates=chosen.tags.get("gates"),
    )


def champion(layout: Layout, params: Params, destination: Path) -> tuple[str, Path] | None:
    """Copy the champion's export folder below `destination`; return its version and the copy, or None without champion.

    Raises:
        FeropsError: the files are gone, or not those that were registered.
    """
    if not has_store(layout):
        return None
    with connected(layout) as client:
        holder = champion_version(client, params.registry.model_name)
        return None if holder is None else (str(holder.version), download(client, holder, destination))
