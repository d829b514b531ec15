"""The alias `champion`: who holds it, and how a person moves it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.registry.aliases import CHAMPION, champion_version
from ferops.registry.connection import connected, fluent, has_store
from ferops.registry.stage import DIGEST_TAG, export_digest
from ferops.registry.tracking import user_name

_SHOWN_TAGS = ("accuracy", "macro_f1", "gates", "synthetic", "preset", "data_version", "git_commit")


def promote(layout: Layout, params: Params, version: str) -> dict[str, Any]:
    """Move the alias champion to `version` ("3" or "v3") and record by whom, when and from which version.

    Promoting the champion again changes nothing.

    Returns:
        `model`, `champion`, `promoted_from` (the former champion or None), `changed`, and the version's `gates` tag.

    Raises:
        FeropsError: there is no such version; the message lists those that exist.
    """
    name, known = params.registry.model_name, versions(layout, params)
    wanted = version.removeprefix("v")
    chosen = next((each for each in known if each["version"] == wanted), None)
    if chosen is None:
        listing = ", ".join(f"{each['version']} ({' '.join(each['aliases']) or 'no alias'})" for each in known)
        raise FeropsError(
            f"the model {name!r} has no version {version!r}. "
            + (
                f"It has: {listing}"
                if known
                else "It has none yet; a candidate that passes its gates makes one: dvc repro"
            )
        )
    with connected(layout) as client:
        former = champion_version(client, name)
        before = str(former.version) if former else None  # SQLite gives an int, the server a string
        if before != wanted:
            tags = {"promoted_from": before or "none", "promoted_at": datetime.now(UTC).isoformat(timespec="seconds")}
            for key, value in (tags | {"promoted_by": user_name()}).items():
                client.set_model_version_tag(name, wanted, key, str(value))
            client.set_registered_model_alias(name, CHAMPION, wanted)
    return {
        "model": name,
        "champion": wanted,
        "promoted_from": before,
        "changed": before != wanted,
        "gates": chosen["gates"],
    }


def champion(layout: Layout, params: Params, destination: Path) -> tuple[str, Path] | None:
    """Copy the champion's export folder below `destination`; return its version and the copy, or None without champion.

    Raises:
        FeropsError: the files are not those that were registered.
    """
    if not has_store(layout):
        return None
    from mlflow.artifacts import download_artifacts

    name = params.registry.model_name
    with connected(layout) as client:
        holder = champion_version(client, name)
        if holder is None:
            return None
        destination.mkdir(parents=True, exist_ok=True)
        # Without dst_path MLflow returns the live folder of a local store
        with fluent(client):
            uri = f"models:/{name}/{holder.version}/artifacts/export"
            copy = Path(download_artifacts(artifact_uri=uri, dst_path=str(destination)))
    if export_digest(copy) != holder.tags.get(DIGEST_TAG):
        raise FeropsError(
            f"the files of {name} version {holder.version}, the champion, are not those that `ferops register` "
            f"recorded (tag {DIGEST_TAG}): do not trust them. Promote another version: ferops promote VERSION"
        )
    return str(holder.version), copy


def versions(layout: Layout, params: Params) -> list[dict[str, Any]]:
    """Return one row per version, newest first: `version`, `aliases`, `run_id`, `created` (UTC, ISO 8601) and main tags
    (None where a version lacks one)."""
    name, rows = params.registry.model_name, []
    with connected(layout) as client:
        # search leaves aliases empty; asking for one version fills them
        found = [
            client.get_model_version(name, each.version) for each in client.search_model_versions(f"name = '{name}'")
        ]
    for full in found:
        created = datetime.fromtimestamp(full.creation_timestamp / 1000, UTC).isoformat(timespec="seconds")
        row = {"version": str(full.version), "aliases": sorted(full.aliases), "run_id": full.run_id, "created": created}
        rows.append(row | {tag: full.tags.get(tag) for tag in _SHOWN_TAGS})
    return sorted(rows, key=lambda row: int(row["version"]), reverse=True)
