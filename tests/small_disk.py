"""A disk of a few megabytes in a mount namespace of its own: it goes with the process that sees it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ferops.orchestration.child import child_environment

NAMESPACE = ("unshare", "--map-root-user", "--mount")


def require_mounts() -> None:
    """Skip the test where this user can mount nothing."""
    try:
        probe = "mount -t tmpfs -o size=1m tmpfs /mnt"
        done = subprocess.run([*NAMESPACE, "bash", "-c", probe], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux) for a disk that is full")
    if done.returncode:
        pytest.skip(f"this user can mount no disk of their own: {done.stderr.strip()}")


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run the bash `script` in `folder`; mounts that it makes are its own."""
    return subprocess.run(
        [*NAMESPACE, "bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=child_environment() | {"TERM": "dumb"} | {k: v for k, v in os.environ.items() if k == "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
