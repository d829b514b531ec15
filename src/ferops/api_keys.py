"""The keys of those who may use the service: a file with a line `NAME SHA256` for each, never the keys themselves.

A key is drawn from 256 bits, so that a plain hash cannot be turned back by guessing, as that of a chosen password can.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from ferops.errors import FeropsError
from ferops.files import write_text

ENVIRONMENT = "FEROPS_API_KEYS_FILE"
"""Names the file to a service, before the setting `serve.api_keys_file` of its Bento."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
_HEADER = "# By `ferops api-key NAME`: the name and the SHA-256 of each key. Remove a line to revoke its key.\n"


def read_keys(file: Path) -> dict[str, str]:
    """Return name -> SHA-256 of the key, 64 hex digits.

    Raises:
        FeropsError: the file is missing, or holds something else.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FeropsError(
            f"{file}, which serve.api_keys_file names, cannot be read. Make it: ferops api-key NAME"
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if not (match := re.fullmatch(rf"({_NAME}) ([0-9a-f]{{64}})", line.strip())) or match[1] in found:
            raise FeropsError(
                f"{file}, line {number} is no key. Supported: a name of its own, a blank and 64 hex digits. "
                "Remove the line, and make the key anew: ferops api-key NAME"
            )
        found[match[1]] = match[2]
    return found


def add_key(file: Path, name: str) -> str:
    """Draw a key for `name`, add its hash to the file, and return the key, 43 URL-safe characters.

    Raises:
        FeropsError: the name cannot be used or has a key already, or the file is damaged.
    """
    if not re.fullmatch(_NAME, name):
        raise FeropsError(f"{name!r} is no name of a key. Supported: up to 64 letters, digits and . _ @ -")
    known = read_keys(file) if file.exists() else {}
    if name in known:
        raise FeropsError(f"{name} has a key already. To replace it, remove its line from {file} first")
    key = secrets.token_urlsafe(32)
    before = file.read_text(encoding="utf-8") if file.exists() else _HEADER
    write_text(file, f"{before.rstrip()}\n{name} {_digest(key)}\n")
    return key


def owner(keys: dict[str, str], key: str) -> str | None:
    """Return whose key it is; None for nobody's. It takes as long whichever it is."""
    digest, found = _digest(key), None
    for name, each in keys.items():
        if hmac.compare_digest(each, digest):
            found = name
    return found


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
