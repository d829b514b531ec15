"""WS /stream: the newest frame is looked at, others are dropped and counted; places, origins, bad frames."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from service.refusals import Refusal
from service.stream import Streams, may_open
from starlette.datastructures import Headers
from starlette.websockets import WebSocket
from test_guard import GIF, image_file

from ferops.config import Params, Serve
from ferops.inference.several import StreamAnswer
from service import stream as module
from service import worker

FRAME = image_file(width=8, height=6)


class Camera:
    """A client of a stream, without a network."""

    def __init__(
        self, streams: Streams, *, client: str = "10.0.0.1", origin: str | None = None, query: str = ""
    ) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.incoming.put_nowait({"type": "websocket.connect"})
        headers = [(b"host", b"localhost:3000"), *([(b"origin", origin.encode())] if origin else [])]
        scope = {
            "type": "websocket",
            "path": "/stream",
            "query_string": query.encode(),
            "headers": headers,
            "client": (client, 1),
            "extensions": {"websocket.http.response": {}},
        }
        socket = WebSocket(scope, receive=self.incoming.get, send=self.outgoing.put)
        self.serving = asyncio.create_task(streams.serve(socket))

    def send(self, frame: bytes | str) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text" if isinstance(frame, str) else "bytes": frame})

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.outgoing.get(), 5)

    async def said(self) -> Any:
        return json.loads((await self.next())["text"])

    async def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(self.serving, 5)


class Desk:
    """Streams whose frames are answered when `may_go` is set; `jobs` are what the worker would have got."""

    def __init__(self, limits: Serve) -> None:
        self.refused: list[str] = []
        self.forgotten: list[int] = []
        self.jobs: list[dict[str, Any]] = []
        self.errors: list[Refusal] = []
        self.may_go = asyncio.Event()
        self.streams = Streams(limits, on_refusal=self.refused.append)
        self.streams.look, self.streams.forget = self.look, self.forget

    async def look(self, job: Any, stream: int, client: str, megapixels: float) -> StreamAnswer:  # noqa: ARG002
        assert job.func is worker.look
        self.jobs.append(job.keywords)
        await self.may_go.wait()
        if self.errors:
            raise self.errors.pop()
        return StreamAnswer(
            frame=job.keywords["frame"],
            frames_dropped=job.keywords["frames_dropped"],
            status="no_face",
            faces=(),
            faces_found=0,
            width=8,
            height=6,
            timing_ms={},
        )

    async def forget(self, stream: int) -> None:
        self.forgotten.append(stream)

    async def camera(self, **how: Any) -> Camera:
        camera = Camera(self.streams, **how)
        assert (await camera.next())["type"] == "websocket.accept"
        return camera


@pytest.fixture
def play(quick_params: Params) -> Callable[..., None]:
    """Run a test with a desk: two streams of a client, three in all, 1,000 frames a second."""
    limits = {"max_streams": 3, "max_streams_per_client": 2, "max_stream_fps": 1000.0}

    def run(test: Callable[[Desk], Any]) -> None:
        async def go() -> None:
            async with asyncio.timeout(30):
                await test(Desk(quick_params.serve.model_copy(update=limits)))

        asyncio.run(go())

    return run


def test_the_newest_frame_is_looked_at_and_the_dropped_ones_are_counted(play: Callable[..., None]) -> None:
    async def test(desk: Desk) -> None:
        camera = await desk.camera()
        camera.send(FRAME)
        while not desk.jobs:
            await asyncio.sleep(0.01)
        for _ in range(3):  # while the first is being looked at
            camera.send(FRAME)
        await asyncio.sleep(6 / module.READ_FPS)
        desk.may_go.set()
        said = [await camera.said(), await camera.said()]
        assert [(each["frame"], each["frames_dropped"]) for each in said] == [(1, 0), (4, 2)]
        assert desk.jobs[0]["time_s"] < desk.jobs[1]["time_s"]
        await camera.leave()
        assert desk.forgotten == [desk.jobs[0]["stream"]]
        assert camera.outgoing.empty()

    play(test)


def test_frames_are_looked_at_no_faster_than_the_limit(quick_params: Params) -> None:
    async def go() -> None:
        desk = Desk(quick_params.serve.model_copy(update={"max_stream_fps": 10.0}))
        desk.may_go.set()
        camera = await desk.camera()
        for _ in range(3):
            camera.send(FRAME)
            await camera.said()
        await camera.leave()
        first, second, third = (job["time_s"] for job in desk.jobs)
        assert second - first >= 0.099
        assert third - second >= 0.099

    asyncio.run(go())


def test_a_video_has_its_own_time(play: Callable[..., None]) -> None:
    async def test(desk: Desk) -> None:
        desk.may_go.set()
        camera = await desk.camera(query="fps=5")
        for _ in range(3):
            camera.send(FRAME)
            await camera.said()
        await camera.leave()
        assert [job["time_s"] for job in desk.jobs] == [0, 0.2, 0.4]
        for wrong in ("0", "-1", "nan", "61", "five"):
            camera = await desk.camera(query=f"fps={wrong}")
            assert (await camera.said())["code"] == "bad_query"
            assert (await camera.next())["code"] == module.POLICY
        assert desk.refused == ["bad_query"] * 5

    play(test)


def test_one_client_cannot_take_every_place(play: Callable[..., None]) -> None:
    async def test(desk: Desk) -> None:
        mine = [await desk.camera() for _ in range(2)]
        others = [await desk.camera()]
        said = await others[0].said()
        assert (said["code"], said["retry_after_s"]) == ("too_many_streams", module.RETRY_S)
        assert await others[0].next() == {"type": "websocket.close", "code": module.TRY_AGAIN, "reason": ""}
        third = await desk.camera(client="10.0.0.2")
        fourth = await desk.camera(client="10.0.0.3")
        assert (await fourth.said())["code"] == "streams_full"
        for camera in (*mine, third):
            await camera.leave()
        assert desk.refused == ["too_many_streams", "streams_full"]
        await (await desk.camera()).leave()  # the places are free again

    play(test)


def test_a_bad_frame_is_refused_and_the_next_one_served(play: Callable[..., None]) -> None:
    async def test(desk: Desk) -> None:
        desk.may_go.set()
        camera = await desk.camera()
        for frame, code in (
            (b"", "empty_file"),
            (b"%PDF-1.7", "not_an_image"),
            (b"\xff\xd8" * 500_001, "body_too_large"),
            (GIF, "too_many_pixels"),
        ):
            camera.send(frame)
            assert (await camera.said())["code"] == code
        desk.errors = [Refusal("queue_full", "Try later.", retry_after_s=0.05)]
        camera.send(FRAME)
        assert await camera.said() == {"code": "queue_full", "error": "Try later.", "retry_after_s": 0.05}
        camera.send(FRAME)
        assert (await camera.said())["frame"] == 6
        await camera.leave()

    play(test)


def test_text_ends_a_stream_and_so_does_silence(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(desk: Desk) -> None:
        camera = await desk.camera()
        camera.send("hello")
        assert "binary" in (await camera.said())["error"]
        assert (await camera.next())["code"] == module.POLICY
        monkeypatch.setattr(module, "IDLE_S", 0.05)
        camera = await desk.camera()
        assert (await camera.said())["code"] == "idle"
        assert desk.forgotten == [1, 2]

    play(test)


def test_a_page_of_another_origin_opens_nothing(play: Callable[..., None]) -> None:
    async def test(desk: Desk) -> None:
        camera = Camera(desk.streams, origin="https://evil.test")
        assert (await camera.next())["status"] == 403
        assert json.loads((await camera.next())["body"])["code"] == "foreign_origin"
        assert desk.refused == ["foreign_origin"]

    play(test)


@pytest.mark.parametrize(
    ("origin", "host", "may"),
    [
        (None, "localhost:3000", True),
        ("http://localhost:3000", "localhost:3000", True),
        ("http://127.0.0.1:3000", "127.0.0.1:3000", True),
        ("https://[::1]", "[::1]", True),
        ("https://faces.example.org", "127.0.0.1:3000", True),  # listed
        ("http://localhost:4000", "localhost:3000", False),
        ("http://evil.test:3000", "localhost:3000", False),
        ("http://evil.test:3000", "evil.test:3000", False),  # pointed here by somebody else
        ("http://127.0.0.1.evil.test:3000", "127.0.0.1.evil.test:3000", False),
        ("null", "localhost:3000", False),
    ],
)
def test_a_stream_is_opened_by_pages_of_this_host_only(origin: str | None, host: str, may: bool) -> None:
    headers = Headers({"host": host, **({"origin": origin} if origin else {})})
    assert may_open(headers, allowed=("https://faces.example.org",)) is may
