"""What only this user may read: the project's passwords and keys, in .ferops/private."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from ferops.errors import FeropsError
from ferops.files import atomic_file
from ferops.layout import Layout


def private_folder(layout: Layout) -> Path:
    """Return `.ferops/private`, made if need be; nobody but its owner may look into it (mode 0700).

    Raises:
        FeropsError: it belongs to another user, who could have put anything there.
    """
    folder = layout.state / "private"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.geteuid():
        raise FeropsError(
            f"{folder} belongs to another user (uid {folder.stat().st_uid}), so its keys cannot be trusted. Work in a "
            "clone of your own, or remove the folder: new keys are made"
        )
    folder.chmod(0o700)
    return folder


def password(layout: Layout, name: str) -> str:
    """Return the project's password `name`: 43 URL-safe characters, drawn once and kept in `.ferops/private/<name>`."""
    return private_file(layout, name, lambda: secrets.token_urlsafe(32).encode()).decode()


def private_file(layout: Layout, name: str, make: Callable[[], bytes]) -> bytes:
    """Return what `.ferops/private/<name>` holds; if it does not exist, it is made first, with mode 0600.

    Raises:
        FeropsError: others may read the file, so its content is no secret any more.
    """
    path = private_folder(layout) / name
    if not path.exists():
        with atomic_file(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(make())
            try:
                os.link(temporary, path)  # of two that start at once, the second takes what the first has made
            except FileExistsError:
                temporary.write_bytes(path.read_bytes())
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise FeropsError(
            f"other users may read {path}. Remove it, and a new one is made; what trusted the old one must be made anew"
        )
    return path.read_bytes()
