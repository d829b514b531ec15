"""What the workers of test_engine.py and test_workers.py run: importable, since each is a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar


class Startable(Protocol):
    """An engine, or several."""

    async def start(self) -> None: ...

    def stop(self) -> None: ...


S = TypeVar("S", bound=Startable)


def played(startable: S, play: Callable[[S], Awaitable[None]]) -> None:
    """Let a test play with what is started before, and stopped after it."""

    async def go() -> None:
        await startable.start()
        try:
            await play(startable)
        finally:
            startable.stop()

    asyncio.run(go())


def load(folder: Path) -> None:
    """Count the starts in `folder`; refuse while it holds `broken`."""
    if (folder / "broken").exists():
        raise RuntimeError("no model")
    (folder / f"start-{os.getpid()}").touch()


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
