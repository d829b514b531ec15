"""The queue: shares between clients, limits in seconds of work, and nobody who waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from service.refusals import Refusal
from service.waiting import FIRST_S, Queue


class Desk:
    """A queue whose work is done when the test says so; `order` lists what was worked on."""

    def __init__(self, **limits: Any) -> None:
        self.order: list[bytes] = []
        self.may_go = asyncio.Event()
        defaults = {"max_waiting": 50, "max_wait_s": 100.0, "max_wait_s_per_client": 100.0, "timeout_s": 5.0}
        self.queue = Queue(self.work, **(defaults | limits))

    async def work(self, encoded: bytes) -> bytes:
        self.order.append(encoded)
        await self.may_go.wait()
        if encoded.startswith(b"bad"):
            raise ValueError(encoded)
        return encoded

    async def send(self, name: str, *, client: str, megapixels: float = 0.0) -> asyncio.Task[bytes]:
        task = asyncio.create_task(self.queue.answer(name.encode(), client=client, megapixels=megapixels))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task


def runs(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


async def refused(task: asyncio.Task[bytes]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await task
    return caught.value


@runs
async def test_one_clients_large_images_do_not_hold_up_the_others() -> None:
    desk = Desk()
    tasks = [await desk.send(f"large{i}", client="a", megapixels=25) for i in range(4)]
    tasks += [await desk.send(f"small{i}", client="b") for i in range(3)]
    desk.may_go.set()
    await asyncio.gather(*tasks)
    assert desk.order == [b"large0", b"small0", b"small1", b"small2", b"large1", b"large2", b"large3"]


@runs
async def test_equal_clients_take_turns() -> None:
    desk = Desk()
    tasks = [await desk.send(f"a{i}", client="a", megapixels=1) for i in range(3)]
    tasks += [await desk.send(f"b{i}", client="b", megapixels=1) for i in range(3)]
    desk.may_go.set()
    assert await asyncio.gather(*tasks) == [b"a0", b"a1", b"a2", b"b0", b"b1", b"b2"]  # each gets its own answer
    assert [name[:1] for name in desk.order] == [b"a", b"a", b"b", b"a", b"b", b"b"]


@runs
async def test_a_client_has_its_share_and_no_more() -> None:
    desk = Desk(max_wait_s_per_client=60 * FIRST_S)
    tasks = [await desk.send(f"a{i}", client="a", megapixels=25) for i in range(2)]
    refusal = await refused(await desk.send("a2", client="a", megapixels=25))
    assert (refusal.status, refusal.code) == (429, "too_many_images")
    assert refusal.retry_after_s
    other = await desk.send("b", client="b", megapixels=25)
    desk.may_go.set()
    await asyncio.gather(*tasks, other)


@runs
async def test_a_client_with_nothing_waiting_may_send_an_image_of_any_size() -> None:
    desk = Desk(max_wait_s_per_client=FIRST_S, max_wait_s=FIRST_S)
    desk.may_go.set()
    assert await (await desk.send("a", client="a", megapixels=25)) == b"a"


@runs
async def test_a_full_queue_says_when_to_come_back() -> None:
    desk = Desk(max_waiting=2)
    tasks = [await desk.send(name, client=name) for name in ("a", "b", "c")]  # one is worked on, two wait
    refusal = await refused(await desk.send("d", client="d"))
    assert (refusal.status, refusal.code) == (503, "queue_full")
    assert refusal.response().headers["retry-after"] == "1"
    desk.may_go.set()
    await asyncio.gather(*tasks)


@runs
async def test_in_a_full_queue_the_client_with_the_most_work_gives_way() -> None:
    desk = Desk(max_wait_s=80 * FIRST_S)
    large = [await desk.send(f"large{i}", client="a", megapixels=25) for i in range(3)]
    small = await desk.send("small", client="b", megapixels=3)
    assert (await refused(large[2])).code == "queue_full"
    desk.may_go.set()
    await asyncio.gather(large[0], large[1], small)


@runs
async def test_who_waits_too_long_gets_no_answer_and_leaves_no_work() -> None:
    desk = Desk(timeout_s=0.05)
    first, second = await desk.send("a", client="a"), await desk.send("b", client="b")
    assert [(await refused(task)).code for task in (first, second)] == ["timeout", "timeout"]
    desk.may_go.set()
    await asyncio.sleep(0.01)
    assert desk.order == [b"a"]


@runs
async def test_who_leaves_makes_room() -> None:
    desk = Desk(max_waiting=1)
    first, second = await desk.send("a", client="a"), await desk.send("b", client="b")
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    third = await desk.send("c", client="c")
    desk.may_go.set()
    await asyncio.gather(first, third)
    assert desk.order == [b"a", b"c"]


@runs
async def test_an_error_reaches_its_own_client_alone() -> None:
    desk = Desk()
    bad, good = await desk.send("bad", client="a"), await desk.send("good", client="a")
    desk.may_go.set()
    with pytest.raises(ValueError, match="bad"):
        await bad
    assert await good == b"good"


@runs
async def test_the_expected_time_follows_what_was_measured() -> None:
    desk = Desk(max_wait_s_per_client=10 * FIRST_S)

    async def slow(encoded: bytes) -> bytes:
        await asyncio.sleep(0.1)
        return encoded

    desk.queue._work = slow
    for _ in range(5):
        await (await desk.send("a", client="a"))
    desk.queue._work = desk.work
    tasks = [await desk.send(f"a{i}", client="a") for i in range(9)]  # 9 would fit if each took FIRST_S
    assert [task for task in tasks if task.done() and task.exception()]
    desk.may_go.set()
    await asyncio.gather(*tasks, return_exceptions=True)


@runs
async def test_with_two_workers_two_images_are_worked_on_and_the_wait_is_half() -> None:
    desk = Desk(at_once=2, max_waiting=1, max_wait_s=40 * FIRST_S)
    first = [await desk.send(name, client=name) for name in ("a", "b")]
    assert desk.order == [b"a", b"b"]
    third = await desk.send("c", client="c", megapixels=70)  # 73 of work, by two
    refusal = await refused(await desk.send("d", client="d", megapixels=70))
    assert refusal.code == "queue_full"
    desk.may_go.set()
    assert await asyncio.gather(*first, third) == [b"a", b"b", b"c"]
    await desk.queue.idle()
    again = [await desk.send(name, client=name) for name in ("e", "f")]
    assert await asyncio.gather(*again) == [b"e", b"f"]
