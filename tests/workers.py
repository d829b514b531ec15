"""What the workers of test_engine.py and test_workers.py run: importable, since each is a process of its own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def load(folder: Path) -> int:
    """Count the starts in `folder`; refuse while it holds `broken`."""
    if (folder / "broken").exists():
        raise RuntimeError("no model")
    (folder / f"start-{os.getpid()}").touch()
    return os.getpid()


def work(encoded: bytes) -> bytes:
    if encoded == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if encoded.startswith(b"crash once "):
        mark = Path(encoded[11:].decode())
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if encoded == b"slow":
        time.sleep(60)
    if encoded == b"bad":
        raise ValueError("bad image")
    return encoded.upper()


def whose(encoded: bytes) -> int:
    """Work for so many seconds, and return the worker's process id."""
    time.sleep(float(encoded))
    return os.getpid()
