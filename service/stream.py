"""Streams: frames of a camera in, answers out. The newest frame is looked at; one that is older by then is dropped.

Each frame is a JPEG or another format of POST /predict. An answer is a `StreamAnswer`, or a refusal with `code`,
`error` and, where another try may succeed, `retry_after_s`. Frames stay in memory until they are answered.
WS /stream and gRPC's `Stream` share places, limits and numbers.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import time
from collections import Counter
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.websockets import WebSocketDisconnect

from ferops.inference.several import StreamAnswer
from service import worker
from service.guard import megapixels
from service.keys import PROTOCOL
from service.refusals import Refusal
from service.uploads import client_of, counted, too_large

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from starlette.datastructures import Headers
    from starlette.websockets import WebSocket

    from ferops.config import Serve

    Look = Callable[[Callable[[], StreamAnswer], int, str, float], Awaitable[StreamAnswer]]
    """Does a job of a worker for a stream, by its number, a client and megapixels; raises Refusal alone."""

    Tell = Callable[[StreamAnswer | Refusal], Awaitable[None]]
    """Sends what is said of a frame."""

MAX_FRAME_BYTES = 1_000_000
MAX_MEGAPIXELS = 2.1
"""1920x1080 pixels. Faces are found in a quarter of that as well, and sooner."""
READ_FPS = 60
"""Frames a second that are taken in; what comes faster waits at its sender."""
IDLE_S = 30.0
"""A stream that sends no frame for so long is closed."""
RETRY_S = 5.0
TRY_AGAIN, POLICY = 1013, 1008  # codes of RFC 6455 and its registry


class Latest:
    """The newest frame that came."""

    def __init__(self) -> None:
        self._frame: bytes | None = None
        self._came = asyncio.Event()
        self._is_last = False
        self.number = 0
        self.dropped = 0

    def put(self, frame: bytes) -> None:
        """Count a frame; the one before it, if nobody took it, is dropped."""
        self.number += 1
        self.dropped += self._frame is not None
        self._frame = frame
        self._came.set()

    def end(self) -> None:
        """No further frame will come."""
        self._is_last = True
        self._came.set()

    async def take(self) -> tuple[bytes, int, int] | None:
        """Wait for a frame; return it, its number, and how many were dropped since the last one.

        None: there will be no further frame. Raises Refusal: none came within IDLE_S.
        """
        try:
            await asyncio.wait_for(self._came.wait(), IDLE_S)
        except TimeoutError:
            raise Refusal("idle", f"No frame came within {IDLE_S:g} s. Open the stream again.") from None
        if self._frame is None:
            return None
        taken = self._frame, self.number, self.dropped
        self._frame, self.dropped = None, 0
        if not self._is_last:
            self._came.clear()
        return taken


class Streams:
    """The streams that are open.

    Args:
        look: gets the answers; set before the first stream.
        forget: ends what the worker knows of a stream.
        on_refusal: gets the code of each refusal.
    """

    def __init__(self, limits: Serve, *, on_refusal: Callable[[str], None]) -> None:
        self.look: Look | None = None
        self.forget: Callable[[int], Awaitable[None]] | None = None
        self._limits = limits
        self._on_refusal = on_refusal
        self._open: Counter[str] = Counter()
        self._numbers = itertools.count(1)

    async def serve(self, socket: WebSocket) -> None:
        """Serve WS /stream until it is closed."""
        if not may_open(socket.headers, allowed=self._limits.allowed_origins):
            refusal = Refusal(
                "foreign_origin", "Pages of another origin may not open a stream. Name theirs in serve.allowed_origins."
            )
            self._on_refusal(refusal.code)
            await socket.send_denial_response(refusal.response())
            return
        await socket.accept(PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", ()) else None)
        try:
            fps = socket.query_params.get("fps")
            await self.run(client_of(socket.scope), _frames(socket), partial(_tell, socket), fps=fps)
        except WebSocketDisconnect:
            pass
        except Refusal as refusal:
            await _tell(socket, refusal)
            await socket.close(POLICY if refusal.retry_after_s is None else TRY_AGAIN)

    async def run(
        self, client: str, frames: AsyncGenerator[bytes, None], tell: Tell, *, fps: str | None = None
    ) -> None:
        """Serve one stream until its last frame is answered.

        Args:
            fps: as the client has it, where the frames are those of a video, so many a second: its time counts, not
                when they come.

        Raises:
            Refusal: it is ended, or never began.
            Exception: what `frames` or `tell` raises.
        """
        try:
            with self._place(client):
                async with aclosing(frames):
                    await self._serve(client, frames, tell, _video_fps(fps))
        except Refusal as refusal:
            self._on_refusal(refusal.code)
            raise

    @contextmanager
    def _place(self, client: str) -> Iterator[None]:
        if self._open[client] >= self._limits.max_streams_per_client:
            raise Refusal(
                "too_many_streams",
                f"{self._open[client]} streams of this client are open. Close one before the next.",
                retry_after_s=RETRY_S,
            )
        if self._open.total() >= self._limits.max_streams:
            raise Refusal("streams_full", "Too many streams are open. Try later.", retry_after_s=RETRY_S)
        with counted(self._open, client):
            yield

    async def _serve(self, client: str, frames: AsyncGenerator[bytes, None], tell: Tell, fps: float | None) -> None:
        latest, stream = Latest(), next(self._numbers)
        reading = asyncio.ensure_future(_read(frames, latest))
        answering = asyncio.ensure_future(self._answer(latest, client, stream, tell, fps))
        try:
            await asyncio.wait((reading, answering), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()  # what ended it
            await answering
        finally:
            for task in (reading, answering):
                task.cancel()
            await asyncio.gather(reading, answering, return_exceptions=True)
            assert self.forget is not None
            await self.forget(stream)

    async def _answer(self, latest: Latest, client: str, stream: int, tell: Tell, fps: float | None) -> None:
        assert self.look is not None
        began_s, following = time.monotonic(), 1
        while (taken := await latest.take()) is not None:
            frame, number, dropped = taken
            start_s = time.monotonic()
            try:
                if len(frame) > MAX_FRAME_BYTES:
                    raise too_large(MAX_FRAME_BYTES)
                size = megapixels(frame, at_most=MAX_MEGAPIXELS)
                job = partial(
                    worker.look,
                    frame,
                    stream=stream,
                    first=following,
                    time_s=(number - 1) / fps if fps else start_s - began_s,
                    frame=number,
                    frames_dropped=dropped,
                )
                answer = await self.look(job, stream, client, size)
            except Refusal as refusal:
                self._on_refusal(refusal.code)
                await tell(refusal)
                await asyncio.sleep(refusal.retry_after_s or 0)
            else:
                following = max([following, *(face.track + 1 for face in answer.faces if face.track)])
                await tell(answer)
            await asyncio.sleep(start_s + 1 / self._limits.max_stream_fps - time.monotonic())


def _video_fps(text: str | None) -> float | None:
    """Return the frames a second that a client names; None where it names none. Raises Refusal."""
    if text is None:
        return None
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 0 < fps <= READ_FPS:
        raise Refusal("bad_query", f"fps is {text[:20]!r}. Supported: frames of the video a second, up to {READ_FPS}.")
    return fps


async def _tell(socket: WebSocket, said: StreamAnswer | Refusal) -> None:
    if isinstance(said, Refusal):
        message = {"code": said.code, "error": said.message}
        await socket.send_json(message | ({"retry_after_s": said.retry_after_s} if said.retry_after_s else {}))
    else:
        await socket.send_text(said.model_dump_json())


async def _read(frames: AsyncGenerator[bytes, None], latest: Latest) -> None:
    async for frame in frames:
        latest.put(frame)
        await asyncio.sleep(1 / READ_FPS)
    latest.end()


async def _frames(socket: WebSocket) -> AsyncGenerator[bytes, None]:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        frame = message.get("bytes")
        if frame is None:
            raise Refusal("not_an_image", "The message is text. Send each frame as a binary message, such as a JPEG.")
        yield frame


def may_open(headers: Headers, *, allowed: tuple[str, ...]) -> bool:
    """Whether the page that asks may open a stream: browsers let any page ask, and tell from which one it comes.

    Those of `allowed` may, and those of this host if it is `localhost` or an address: a name can be pointed here by
    somebody else (DNS rebinding). Programs send no Origin.
    """
    origin = headers.get("origin")
    if origin is None or origin in allowed:
        return True
    place = urlsplit(origin)
    return place.netloc == headers.get("host") and _is_no_name(place.hostname or "")


def _is_no_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
