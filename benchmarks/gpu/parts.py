"""What a job of a session is given, and how its parts run: as processes of their own, each in its time."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import torch
from packed import Pack

LATE_S = 8.0
"""How much longer than its time a job may take; then it gets SIGTERM, and as much time again to write what it has."""

METHODS = ("fork", "spawn")
"""How jobs start. Forked, they have the modules and faces of this process at once; it never touches the GPU itself."""


def start_method() -> BaseContext | None:
    """Return the first of METHODS by which a process can use the GPU; None if there is none to use."""
    for context in map(multiprocessing.get_context, METHODS):
        process = context.Process(target=_use_gpu)
        process.start()
        process.join()
        if not process.exitcode:
            return context
    return None


def _use_gpu() -> None:
    sys.exit(not torch.cuda.is_available() or not torch.ones(1, device="cuda").item())


class Together:
    """What the jobs of one part share: they measure their speed at the same time, since they slow each other."""

    def __init__(self, context: BaseContext, jobs: int) -> None:
        self._barrier = context.Barrier(jobs)

    def wait(self) -> None:
        """Wait until all jobs are here, half a minute at most."""
        with suppress(BrokenBarrierError):
            self._barrier.wait(timeout=30.0)


@dataclass(frozen=True)
class Job:
    """`out` takes weights; `until` (time.monotonic) is when the job shall have ended; `tiny` rehearses."""

    pack: Pack
    out: Path
    until: float
    tiny: bool
    together: Together


@dataclass(frozen=True)
class Part:
    """Jobs that run at the same time.

    Attributes:
        seconds: what they get, if so much is left. least: with less they are skipped.
    """

    name: str
    jobs: dict[str, Callable[[Job], dict[str, Any]]]
    seconds: float
    least: float


def run(
    part: Part, pack: Pack, out: Path, *, context: BaseContext, seconds: float, tiny: bool, scratch: Path
) -> dict[str, dict[str, Any]]:
    """Run the jobs of a part; return what each found, or why it has not. Their output is added to out/log.txt."""
    until, together = time.monotonic() + seconds, Together(context, len(part.jobs))
    job = Job(pack, out, until, tiny, together)
    processes = {
        name: context.Process(target=_work, args=(name, work, job, scratch), name=name)  # type: ignore[attr-defined]
        for name, work in part.jobs.items()
    }
    for process in processes.values():
        process.start()
    late = until + LATE_S
    for end, stop in ((late, BaseProcess.terminate), (late + LATE_S, BaseProcess.kill)):
        for process in processes.values():
            process.join(max(0.0, end - time.monotonic()))
        for process in processes.values():
            if process.is_alive():
                stop(process)
    for process in processes.values():
        process.join()
    return {name: _found(name, process, out, scratch) for name, process in processes.items()}


def _work(name: str, work: Callable[[Job], dict[str, Any]], job: Job, scratch: Path) -> None:
    tempfile.tempdir = str(scratch)  # what a killed job leaves goes with it
    sys.stdout = sys.stderr = log = (scratch / f"{name}.log").open("a", buffering=1)
    for stream in (1, 2):  # of libraries that are not Python's
        os.dup2(log.fileno(), stream)
    try:
        found = work(job)
    except Exception as error:  # whatever it is, the other jobs go on, and the figures say so
        traceback.print_exc()
        found = {"failed": f"{type(error).__name__}: {error}"}
    temporary = scratch / f"{name}.new"
    temporary.write_text(json.dumps(found, default=str))
    temporary.rename(scratch / f"{name}.json")


def _found(name: str, process: BaseProcess, out: Path, scratch: Path) -> dict[str, Any]:
    with (out / "log.txt").open("a") as log, suppress(FileNotFoundError):
        log.write(f"\n== {name}\n{(scratch / f'{name}.log').read_text(errors='replace')}")
    result = scratch / f"{name}.json"
    if not result.exists():
        return {"failed": f"ended with {process.exitcode} and no result: too late, or killed"}
    found: dict[str, Any] = json.loads(result.read_text())
    return found
