"""Signatures on versions: nobody who may write to the registry can say what `register` says.

Each project folder has an Ed25519 key of its own in `.ferops/private`. `register` signs what it found out about a
version and keeps that as a tag of the version, one per key. Which keys count stands in the project
(ferops.registry.trust).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import ValidationError

from ferops.errors import FeropsError
from ferops.files import write_text
from ferops.layout import Layout
from ferops.private import private_file, private_folder
from ferops.records.signature import Signature, Statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from mlflow.entities.model_registry import ModelVersion

TAG = "ferops.signature."
"""Begins the name of a tag that holds a `Signature`; the first hex digits of the key end it."""

_KEY_FILE = "signing.key"
_FAILED_FILE = "failed-digests"
_PURPOSE = b"ferops statement on a version\n"  # the key's signatures count for nothing else


def own_key(layout: Layout, *, make: bool = False) -> str | None:
    """Return the project's public key, 64 hex digits; without `make` None if it has none yet.

    Raises:
        FeropsError: others may read the private key, or it is damaged.
    """
    if not make and not (layout.state / "private" / _KEY_FILE).exists():
        return None
    return _private_key(layout).public_key().public_bytes_raw().hex()


def sign(layout: Layout, statement: Statement) -> dict[str, str]:
    """Return the tag that puts `statement` on a version, signed with the project's own key."""
    text = statement.model_dump_json()
    key = _private_key(layout)
    public = key.public_key().public_bytes_raw().hex()
    signed = Signature(key=public, signature=key.sign(_PURPOSE + text.encode()).hex(), statement=text)
    return {f"{TAG}{public[:16]}": signed.model_dump_json()}


def statements(version: ModelVersion) -> Iterator[tuple[str, Statement]]:
    """Yield the key and the statement of each valid signature that is on a version and about its model."""
    for tag, value in version.tags.items():
        if tag.startswith(TAG):
            try:
                signed = Signature.model_validate_json(value)
                statement = Statement.model_validate_json(signed.statement)
            except ValidationError:
                continue
            if _is_valid(signed) and statement.model == version.name:
                yield signed.key, statement


def is_public_key(text: str) -> bool:
    """Whether `text` is an Ed25519 public key as 64 hex digits."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        return False
    return len(text) == 64


def note_verdict(layout: Layout, digest: str, *, failed: bool) -> None:
    """Remember, out of the registry's reach, whether the gates of these files failed last.

    Else an earlier statement, from before they failed, could be put back on the version.
    """
    before = failed_digests(layout)
    after = before | {digest} if failed else before - {digest}
    if after != before:
        write_text(private_folder(layout) / _FAILED_FILE, "".join(f"{each}\n" for each in sorted(after)))


def failed_digests(layout: Layout) -> set[str]:
    """Return the digests of files whose gates failed when this project judged them last."""
    path = layout.state / "private" / _FAILED_FILE
    return set(path.read_text(encoding="utf-8").split()) if path.exists() else set()


def _private_key(layout: Layout) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    raw = private_file(layout, _KEY_FILE, lambda: Ed25519PrivateKey.generate().private_bytes_raw())
    try:
        return Ed25519PrivateKey.from_private_bytes(raw)
    except ValueError as error:
        raise FeropsError(
            f"{private_folder(layout) / _KEY_FILE} is no signing key ({len(raw)} bytes, 32 are wanted). Restore it "
            "from a backup, or remove it: the next `ferops register` makes a new one, and signs anew"
        ) from error


def _is_valid(signed: Signature) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed.key))
        key.verify(bytes.fromhex(signed.signature), _PURPOSE + signed.statement.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
