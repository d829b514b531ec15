"""Whom a project trusts: its own key at once, the keys and the single versions that a person wrote into trust.json.

The file lies in the project's root and belongs into Git: whoever may change it may change the code as well.
"""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.records.signature import AcceptedVersion, Statement, Trust, TrustedKey
from ferops.registry.signing import is_public_key, own_key, statements
from ferops.registry.tracking import user_name

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def read_trust(layout: Layout) -> Trust:
    """Return what trust.json says; without the file nothing and nobody is trusted but the project's own key.

    Raises:
        FeropsError: the file is damaged, or every user of this machine may write it.
    """
    path = layout.trust
    if not path.exists():
        return Trust()
    if path.stat().st_mode & stat.S_IWOTH:
        raise FeropsError(
            f"every user of this machine may write {path}, so nobody knows who is trusted. Look into it, then: "
            f"chmod o-w {path}"
        )
    return Trust.read(path, made_by=f"git checkout {path}, or: {Trust.made_by}")


def trusted_keys(layout: Layout) -> set[str]:
    """Return the public keys whose statements count here."""
    own = own_key(layout)
    return {each.key for each in read_trust(layout).keys} | ({own} if own else set())


def add_key(layout: Layout, key: str) -> None:
    """Add another project folder's public key to trust.json; a key that is there already changes nothing.

    Raises:
        FeropsError: `key` is no public key.
    """
    key = key.strip().lower()
    if not is_public_key(key):
        raise FeropsError(f"{key!r} is no public key: 64 hex digits. The other folder prints its own one: ferops trust")
    if key not in trusted_keys(layout):
        known, added = read_trust(layout), TrustedKey(key=key, by=user_name(), at=_now())
        known.model_copy(update={"keys": (*known.keys, added)}).write(layout.trust)


def add_accepted(layout: Layout, version: ModelVersion, files: dict[str, str]) -> AcceptedVersion:
    """Write into trust.json that exactly these files may be used as a version of this model."""
    known = read_trust(layout)
    found = AcceptedVersion(model=version.name, version=str(version.version), files=files, by=user_name(), at=_now())
    others = [each for each in known.accepted if (each.model, each.files) != (found.model, files)]
    known.model_copy(update={"accepted": (*others, found)}).write(layout.trust)
    return found


def vouched_for(layout: Layout, version: ModelVersion) -> Statement:
    """Return the latest statement of a trusted key about a version.

    Raises:
        FeropsError: there is none; the message says why.
    """
    exact = f"version {version.version} of {version.name}"
    by_hand = f"if you know where it comes from: ferops accept {version.version} (docs/security.md)"
    signed = list(statements(version))
    trusted = trusted_keys(layout)
    counting = [statement for key, statement in signed if key in trusted]
    if counting:
        return max(counting, key=lambda statement: statement.signed_at)
    if signed:
        keys = " and ".join(sorted(key for key, _ in signed))
        raise FeropsError(
            f"{exact} is signed by a key that this project does not trust: {keys}. If `ferops trust` prints this key "
            f"where the version was registered: ferops trust {signed[0][0]}. If this folder has evaluated the same "
            f"files: dvc repro --single-item --force register. Else do not use it; or, {by_hand}"
        )
    raise FeropsError(
        f"{exact} has no valid signature: ferops 0.1 registered it, or somebody who may write to the registry put or "
        "changed it there. Do not use it: take its alias away in the MLflow UI, and register your own (dvc repro). "
        f"Or, {by_hand}"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
