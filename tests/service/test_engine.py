"""The worker's crashes, as the server lives through them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from service.engine import Engine
from service.refusals import Refusal

from workers import load, played, work


def starts(folder: Path) -> int:
    return len(list(folder.glob("start-*")))


def run(folder: Path, play: Callable[[Engine[bytes, bytes]], Awaitable[None]], *, limit_s: float = 30) -> None:
    played(Engine(partial(load, folder), work, limit_s=limit_s), play)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


def test_an_image_whose_worker_dies_is_answered_by_the_next(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        answer = await engine.run(f"crash once {tmp_path / 'mark'}".encode())
        assert answer.startswith(b"CRASH ONCE")
        assert starts(tmp_path) == 2

    run(tmp_path, play)


def test_an_image_that_kills_two_workers_is_refused_and_the_next_one_served(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        with pytest.raises(Refusal) as refused:
            await engine.run(b"crash")
        assert refused.value.code == "crashed"
        assert await engine.run(b"a") == b"A"

    run(tmp_path, play)


def test_a_worker_that_dies_idle_is_replaced_unasked(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        os.kill(engine.pid, signal.SIGKILL)
        await until(lambda: not engine.is_ready)
        await until(lambda: engine.is_ready)
        assert await engine.run(b"a") == b"A"

    run(tmp_path, play)


def test_an_image_that_takes_too_long_ends_its_worker(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        with pytest.raises(Refusal) as refused:
            await engine.run(b"slow")
        assert refused.value.code == "timeout"
        assert await engine.run(b"a") == b"A"
        assert starts(tmp_path) == 2

    run(tmp_path, play, limit_s=1)


def test_without_a_model_the_service_is_not_ready_until_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.RETRY_S", 0.1)

    async def play(engine: Engine[bytes, bytes]) -> None:
        (tmp_path / "broken").touch()
        os.kill(engine.pid, signal.SIGKILL)
        await until(lambda: not engine.is_ready)
        with pytest.raises(Refusal) as refused:
            await engine.run(b"a")
        assert (refused.value.status, refused.value.code) == (503, "not_ready")
        (tmp_path / "broken").unlink()
        await until(lambda: engine.is_ready)
        assert await engine.run(b"a") == b"A"

    run(tmp_path, play)


def test_an_error_of_the_work_ends_no_worker(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        with pytest.raises(ValueError, match="bad image"):
            await engine.run(b"bad")
        assert await engine.run(b"a") == b"A"
        assert starts(tmp_path) == 1

    run(tmp_path, play)


def test_a_retired_worker_answers_what_it_has_first(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        answering, pid = asyncio.create_task(engine.run(b"a")), engine.pid
        await asyncio.sleep(0)
        await engine.retire()
        assert await answering == b"A"
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run(tmp_path, play)


def test_a_job_that_is_given_up_leaves_no_answer_to_the_next(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        given_up = asyncio.create_task(engine.run(b"slow"))
        await asyncio.sleep(0.2)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert await engine.run(b"a") == b"A"

    run(tmp_path, play)


def test_jobs_and_answers_may_be_larger_than_a_sockets_buffer(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        assert await engine.run(b"a" * 20_000_000) == b"A" * 20_000_000

    run(tmp_path, play)


def test_an_error_says_where_in_the_worker_it_was_raised(tmp_path: Path) -> None:
    async def play(engine: Engine[bytes, bytes]) -> None:
        with pytest.raises(ValueError, match="bad image") as caught:
            await engine.run(b"bad")
        assert 'raise ValueError("bad image")' in caught.value.__notes__[0]

    run(tmp_path, play)
