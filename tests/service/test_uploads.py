"""Uploads: how many at once, how slow, and whose."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from service.refusals import Refusal
from service.uploads import Incoming, Uploads, client_of

from service import uploads as module


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.2)
    monkeypatch.setattr(module, "PLACE_S", 0.05)


def uploads(**limits: Any) -> Uploads:
    return Uploads(**({"at_once": 3, "at_once_per_client": 2, "within_s": 10, "min_kb_s": 100} | limits))


@asynccontextmanager
async def places(counter: Uploads, *clients: str) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(counter.place(client))
        yield stack


async def refusal(counter: Uploads, client: str) -> tuple[int, str]:
    with pytest.raises(Refusal) as refused:
        async with counter.place(client):
            pass
    assert refused.value.retry_after_s
    return refused.value.status, refused.value.code


def test_one_client_cannot_take_every_place() -> None:
    async def go() -> None:
        counter = uploads()
        async with places(counter, "a", "a"):
            assert await refusal(counter, "a") == (429, "too_many_uploads")
            async with counter.place("b"):
                assert await refusal(counter, "c") == (503, "uploads_full")
        async with places(counter, "a", "a", "b"):  # all were given back
            pass

    asyncio.run(go())


def test_a_place_that_becomes_free_at_once_is_waited_for() -> None:
    async def go() -> None:
        counter = uploads()
        async with places(counter, "a", "a") as taken:
            asyncio.get_running_loop().call_later(0.02, lambda: asyncio.ensure_future(taken.pop_all().aclose()))
            async with counter.place("a"):
                pass

    asyncio.run(go())


class Sender:
    """Sends `chunk` every `every_s` seconds, `count` times."""

    def __init__(self, chunk: bytes, *, count: int, every_s: float = 0.0) -> None:
        self._chunk, self._left, self._every_s = chunk, count, every_s

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(self._every_s)
        self._left -= 1
        return {"type": "http.request", "body": self._chunk, "more_body": self._left > 0}


def read(sender: Sender, *, at_most: int = 10**6, **limits: Any) -> bytes:
    async def go() -> bytes:
        return b"".join([chunk async for chunk in uploads(**limits).body(Incoming(sender.receive), at_most=at_most)])

    return asyncio.run(go())


def test_a_body_comes_whole() -> None:
    assert read(Sender(b"ab", count=5)) == b"ab" * 5


@pytest.mark.parametrize(
    ("sender", "limits"),
    [
        (Sender(b"", count=2, every_s=60), {}),  # nothing comes
        (Sender(b"x", count=10**6, every_s=0.01), {}),  # too little comes
        (Sender(b"x" * 10_000, count=10**6, every_s=0.01), {"within_s": 0.3}),  # enough comes, but for too long
    ],
)
def test_a_slow_upload_is_ended(sender: Sender, limits: dict[str, float]) -> None:
    start = time.monotonic()
    with pytest.raises(Refusal) as refused:
        read(sender, at_most=10**9, **limits)
    assert (refused.value.status, refused.value.code) == (408, "slow_upload")
    assert time.monotonic() - start < 2


def test_a_large_body_is_not_read_to_its_end() -> None:
    sender = Sender(b"x" * 1000, count=10**6)
    with pytest.raises(Refusal) as refused:
        read(sender, at_most=5000)
    assert (refused.value.status, sender._left) == (413, 10**6 - 6)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5), "10.1.2.3"),  # the same client, on a socket for both
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),  # one subscriber has 2^64 of these
        (None, "local"),
    ],
)
def test_who_counts_as_one_client(address: Any, client: str) -> None:
    assert client_of({"client": address}) == client
