"""The worker as the server sees it: one process that is started again when it dies; no request is lost with it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import multiprocessing
import os
import pickle
import socket
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

from service.refusals import Refusal

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

J = TypeVar("J")
T = TypeVar("T")

RETRY_S = 2.0
"""Between attempts to start a worker that does not start."""

_LENGTH = struct.Struct("!Q")
"""Before each message: how many bytes follow, a pickle."""

_BUFFER_BYTES = 1_000_000

log = logging.getLogger("bentoml.ferops")


class WorkerDiedError(Exception):
    """The worker has ended in the middle of what it was asked."""


class Engine(Generic[J, T]):
    """Runs `work` on one job at a time, an image, in a worker process; further ones wait.

    A socket connects the two, without the threads of a ProcessPoolExecutor, whose switches cost more than an answer's
    bytes (benchmarks/throughput.py).

    Args:
        load: called first in each new worker.
        work: from a job to its answer; importable, as everything in a job.
        limit_s: an image that takes longer ends the worker.

    Attributes:
        is_ready: whether the worker runs.
        jobs: how many it has, those that wait included.
    """

    def __init__(self, load: Callable[[], object], work: Callable[[J], T], *, limit_s: float) -> None:
        self._load = load
        self._work = work
        self._limit_s = limit_s
        self._process: SpawnProcess | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None
        self.is_ready = False
        self._failing = False
        self._starting: asyncio.Task[None] | None = None
        self._stopped = False
        self._turn = asyncio.Lock()
        self.jobs = 0

    @property
    def pid(self) -> int:
        """The worker's process id; 0 before the first one."""
        return (self._process and self._process.pid) or 0

    async def start(self) -> None:
        """Start the first worker. Raises what `load` raises, or WorkerDiedError."""
        mine, its = socket.socketpair()
        # spawn: a fork would copy the server's threads' locks and its open connections
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(its, self._load, self._work))
        with its:
            process.start()
        atexit.unregister(self.stop)  # of the worker before
        atexit.register(self.stop)  # an interpreter that ends waits for its children
        self._process = process
        self._reader, self._writer = await asyncio.open_unix_connection(sock=mine, limit=_BUFFER_BYTES)
        await self._answer()
        sentinel = os.dup(process.sentinel)  # `process` closes its own
        asyncio.get_running_loop().add_reader(sentinel, self._died, sentinel)
        self.is_ready, self._failing = True, False

    async def retire(self) -> None:
        """End the worker as soon as it has answered what was given to it."""
        while self.jobs:
            await asyncio.sleep(0.02)
        self.stop()

    def stop(self) -> None:
        """End the worker."""
        self._stopped = True
        atexit.unregister(self.stop)
        self._clear()

    async def run(self, job: J) -> T:
        """Return the answer of `work`; an image whose worker dies is tried once more, by the next one.

        Raises:
            Refusal: two workers died over it, it took longer than `limit_s`, or no worker can be started.
            Exception: what `work` raises.
        """
        self.jobs += 1
        try:
            async with self._turn:
                return await self._tried_twice(pickle.dumps(job, pickle.HIGHEST_PROTOCOL))
        finally:
            self.jobs -= 1

    async def _tried_twice(self, job: bytes) -> T:
        for _ in range(2):
            await self._wait()
            try:
                async with asyncio.timeout(self._limit_s):
                    answer: T = await self._asked(job)
            except WorkerDiedError:
                self._lost()
            except TimeoutError:
                raise Refusal(
                    "timeout", f"The image took longer than {self._limit_s:g} s. Send a smaller one."
                ) from None
            else:
                return answer
        raise Refusal("crashed", "The image ended the worker twice. Save it anew, as JPEG or PNG, and send that.")

    async def _asked(self, job: bytes) -> Any:
        assert self._writer is not None  # the worker is ready
        try:
            self._writer.write(_LENGTH.pack(len(job)) + job)
            return await self._answer()
        except asyncio.CancelledError:  # its answer would be taken for that of the next job
            self._kill()
            raise

    async def _answer(self) -> Any:
        """Return what the worker sends. Raises what it has raised, or WorkerDiedError."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            answered, answer = pickle.loads(await self._reader.readexactly(length))  # our own worker's
        except (asyncio.IncompleteReadError, OSError) as error:
            raise WorkerDiedError("the worker has ended") from error
        if not answered:
            raise answer
        return answer

    async def _wait(self) -> None:
        """Wait for the next worker, unless it has just failed to start."""
        while not self.is_ready:
            if self._failing:
                raise Refusal("not_ready", "The model cannot be loaded at present. Try later.", retry_after_s=RETRY_S)
            await asyncio.sleep(0.05)

    def _died(self, sentinel: int) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        os.close(sentinel)
        self._lost()

    def _lost(self) -> None:
        """Start the next worker, unless that is under way; called both by who waits and by who watches."""
        if self._stopped or not self.is_ready:
            return
        self.is_ready = False
        log.warning("worker %d has ended; starting another", self.pid)
        self._starting = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        while not self._stopped:
            self._clear()
            try:
                await self.start()
            except Exception:
                self._failing = True
                log.exception("the worker did not start")
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _clear(self) -> None:
        """End the worker, and keep nothing of it."""
        if self._writer is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._writer.close()
            self._writer = None
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(server: socket.socket, load: Callable[[], object], work: Callable[[Any], Any]) -> None:
    """Be the worker: answer jobs until the server closes its end."""
    with server, server.makefile("rb") as jobs, server.makefile("wb") as answers:
        try:
            load()
        except Exception as error:
            _send(answers, error=error)
            return
        _send(answers, None)
        while head := jobs.read(_LENGTH.size):
            job = pickle.loads(jobs.read(_LENGTH.unpack(head)[0]))  # the server's
            try:
                _send(answers, work(job))
            except Exception as error:
                _send(answers, error=error)


def _send(answers: BinaryIO, answer: object = None, *, error: Exception | None = None) -> None:
    if error is not None:
        error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))  # it does not travel
    message = pickle.dumps((error is None, answer if error is None else error), pickle.HIGHEST_PROTOCOL)
    answers.write(_LENGTH.pack(len(message)))
    answers.write(message)
    answers.flush()
