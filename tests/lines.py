"""TCP lines that a test can cut, or silence as a network does that drops every packet."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

HOST = "127.0.0.1"


class Line:
    """Passes on what comes to `port` to another port of this machine, and the answers back.

    `cut`: connections are reset and new ones closed at once, as where nobody listens any more. `silent`: they stay, and
    nothing passes; when the line is `open` again, connections from before are reset.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._state: Literal["open", "cut", "silent"] = "open"
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait()

    def lead_to(self, port: int) -> None:
        """Lead new connections elsewhere."""
        self._to = port

    def open(self) -> None:
        self.become("open")

    def cut(self) -> None:
        self.become("cut")

    def silence(self) -> None:
        self.become("silent")

    @contextmanager
    def away(self, how: Literal["cut", "silent"]) -> Iterator[None]:
        self.become(how)
        try:
            yield
        finally:
            self.open()

    def close(self) -> None:
        self.become("cut")
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        self._loop.close()

    def become(self, state: Literal["open", "cut", "silent"]) -> None:
        async def change() -> None:
            self._state = state
            if state != "silent":
                for writer in self._writers:
                    writer.transport.abort()

        asyncio.run_coroutine_threadsafe(change(), self._loop).result()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        await self._end.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        there = None
        try:
            while self._state == "silent":  # until it is open again, when this connection is reset
                await asyncio.sleep(0.05)
            if self._state == "cut" or writer.transport.is_closing():
                return
            far, there = await asyncio.open_connection(HOST, self._to)
            self._writers.add(there)
            await asyncio.gather(self._pass(reader, there), self._pass(far, writer))
        except OSError:
            pass
        finally:
            for each in filter(None, (writer, there)):
                self._writers.discard(each)
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            while self._state == "silent":
                await asyncio.sleep(0.05)
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
