"""Several worker processes as one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from service.engine import Engine
from service.workers import Workers, share

from ferops import threads
from workers import load, played, whose


def run(folder: Path, play: Callable[[Workers[bytes, int]], Awaitable[None]], *, count: int = 2) -> None:
    played(Workers(lambda: Engine(partial(load, folder), whose, limit_s=30), count=count), play)


def test_jobs_at_once_go_to_different_workers_and_those_of_a_stream_to_one(tmp_path: Path) -> None:
    async def play(workers: Workers[bytes, int]) -> None:
        assert len(set(await asyncio.gather(workers.run(b"0.1"), workers.run(b"0.1")))) == 2
        assert len(set(await asyncio.gather(*(workers.run(b"0", stream=7) for _ in range(4))))) == 1
        assert await workers.run(b"0", stream=1) != await workers.run(b"0", stream=2)

    run(tmp_path, play)


def test_the_other_worker_answers_while_one_starts_again(tmp_path: Path) -> None:
    async def play(workers: Workers[bytes, int]) -> None:
        dead = await workers.run(b"0")
        (tmp_path / "broken").touch()  # no worker starts
        os.kill(dead, signal.SIGKILL)
        while all(each.is_ready for each in workers._engines):
            await asyncio.sleep(0.02)
        assert workers.is_ready
        assert {await workers.run(b"0") for _ in range(3)}.isdisjoint({dead})

    run(tmp_path, play)


def test_where_one_does_not_start_none_runs(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()

    async def play(_: Workers[bytes, int]) -> None:
        raise AssertionError("it started")

    with pytest.raises(RuntimeError, match="no model"):
        run(tmp_path, play)
    assert not list(tmp_path.glob("start-*"))


def test_retired_workers_answer_what_they_have_first(tmp_path: Path) -> None:
    async def play(workers: Workers[bytes, int]) -> None:
        answering = [asyncio.create_task(workers.run(b"0.2")) for _ in range(3)]
        await asyncio.sleep(0)
        await workers.retire()
        for pid in {each.result() for each in answering}:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    run(tmp_path, play)


@pytest.mark.parametrize(
    ("cores", "workers", "shared"),
    [
        (1, "auto", (1, 1)),
        (2, "auto", (2, 1)),
        (16, "auto", (8, 2)),
        (8, 2, (2, 4)),
        (2, 4, (4, 1)),
        (3, "auto", (3, 1)),
    ],
)
def test_the_cores_are_shared_out(
    cores: int, workers: int, shared: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "current", lambda: cores)
    assert share(workers) == shared
