"""From the aliases `shadow` and `canary` to Bentos that run beside the champion's, and to bentoml/beside.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from ferops.config import Params
from ferops.errors import FeropsError, RegistryAwayError
from ferops.layout import Layout
from ferops.packaging.bento import beside_file, build
from ferops.records.rollout import Beside, CanaryEnd, Held
from ferops.registry.promotion import aliases, files_of, note_canary_end
from ferops.registry.versions import CHAMPION
from ferops.scratch import scratch_folder

Role = Literal["shadow", "canary"]
ROLES: tuple[Role, ...] = get_args(Role)

ENDED = "canary-ended.json"
"""Beside beside.json: a canary that the service has ended (`CanaryEnd`)."""


def wanted(held: Mapping[str, str]) -> dict[Role, str]:
    """Return which version each role is for; the champion runs beside no champion, nor anything without one."""
    champion = held.get(CHAMPION)
    return {role: held[role] for role in ROLES if champion is not None and held.get(role, champion) != champion}


def is_current(layout: Layout, params: Params, held: Mapping[str, str]) -> bool:
    """Whether beside.json says what the aliases and params.yaml do; a version that could not be packaged counts."""
    known = read_beside(layout)
    if known is None:
        return not wanted(held)
    versions = {role: holder.version for role in ROLES if (holder := getattr(known, role)) is not None}
    return versions == wanted(held) and (not versions or known.rules == params.canary)


def read_beside(layout: Layout) -> Beside | None:
    file = beside_file(layout)
    return Beside.read(file, made_by=Beside.made_by) if file.exists() else None


def reconcile_beside(layout: Layout, params: Params) -> list[str]:
    """Make sure that there are Bentos for shadow and canary, tell the service of them, and return what there is to say.

    What cannot be fetched, trusted or packaged does not run, and is said: the champion is served all the same.

    Raises:
        FeropsError: the registry cannot be reached.
    """
    roles = wanted(aliases(layout, params))
    said: list[str] = []
    found: dict[Role, Held | None] = dict.fromkeys(ROLES)
    for role, version in roles.items():
        tag, message = _built(layout, params, version)
        found[role] = Held(version=version, tag=tag)
        said.append(f"{role}: {message}")
    if roles or beside_file(layout).exists():
        Beside(shadow=found["shadow"], canary=found["canary"], rules=params.canary).write(beside_file(layout))
    return said


def note_ended(layout: Layout, params: Params) -> list[str]:
    """Tell the registry of a canary that the service has ended, if it has, and return what there is to say.

    Raises:
        FeropsError: the registry cannot be reached; the service keeps it ended.
    """
    file = beside_file(layout).parent / ENDED
    if not file.exists():
        return []
    ended = CanaryEnd.read(file, made_by=f"rm {file}, then {CanaryEnd.made_by}")
    note_canary_end(layout, params, ended)
    said = reconcile_beside(layout, params)
    file.unlink()  # last: until beside.json names it no more, the service must not start it again
    return [f"The canary, version {ended.version}, was ended: {ended.said}. Its alias was taken away.", *said]


def _built(layout: Layout, params: Params, version: str) -> tuple[str | None, str]:
    try:
        with scratch_folder(layout.state, "beside") as scratch:
            folder = files_of(layout, params, version, scratch / "model")
            done = build(layout, params, model_folder=folder, version=version)
    except RegistryAwayError:
        raise
    except FeropsError as error:
        return None, f"version {version} does not run: {error}"
    return done.tag, done.message
