"""The key of the log's hashes: the project's own, in .ferops/private."""

from __future__ import annotations

import secrets
from pathlib import Path

from ferops.layout import Layout
from ferops.private import private_file, private_folder

_NAME = "traffic.key"


def log_key(layout: Layout) -> bytes:
    """Return the key, 32 random bytes; it is drawn once. Raises FeropsError: others may read it."""
    return private_file(layout, _NAME, lambda: secrets.token_bytes(32))


def log_key_file(layout: Layout) -> Path:
    """Return the absolute path of the file that holds the key."""
    log_key(layout)
    return (private_folder(layout) / _NAME).resolve()
