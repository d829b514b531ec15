"""Bodies on their way in: how many at once, from whom, and how slow they may be."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from service.refusals import Refusal

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

GRACE_S = 3.0
"""An upload may fall behind the minimum rate by this much."""

PLACE_S = 1.0
"""A burst of small images is read faster than this; meanwhile nothing of the next one is held in memory."""


CLIENT = "ferops.client"
"""Key of the ASGI scope under which stands whose API key a request brought."""


@contextmanager
def counted(now: Counter[str], client: str) -> Iterator[None]:
    """Count one more of `client` in `now` while the block runs."""
    now[client] += 1
    try:
        yield
    finally:
        now[client] -= 1
        now += Counter()  # drops the zeros, in place: addresses are many


def client_of(scope: Scope) -> str:
    """Return whose request it is: whose API key it brought; else the address, or of IPv6 a subscriber's network.

    `serve.trusted_proxies` decides whether that of a forwarded header is believed.
    """
    if CLIENT in scope:
        return str(scope[CLIENT])
    try:
        address = ipaddress.ip_address(scope["client"][0])
    except (TypeError, ValueError):  # a Unix socket has no address
        return "local"
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Uploads:
    """Counts the unfinished uploads.

    Args:
        at_once: in all.
        at_once_per_client: of one client.
        within_s: from the request's head to the last byte.
        min_kb_s: kilobytes a second that must come, after GRACE_S.
    """

    def __init__(self, *, at_once: int, at_once_per_client: int, within_s: float, min_kb_s: float) -> None:
        self._at_once = at_once
        self._at_once_per_client = at_once_per_client
        self.within_s = within_s
        self._min_kb_s = min_kb_s
        self._now: Counter[str] = Counter()

    @asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        """Count an upload while the block runs. A place that is taken may become free within PLACE_S.

        Raises:
            Refusal: there are too many already.
        """
        deadline_s = time.monotonic() + PLACE_S
        while (refusal := self._refusal(client)) is not None:
            if time.monotonic() > deadline_s:
                raise refusal
            await asyncio.sleep(0.02)
        with counted(self._now, client):
            yield

    def _refusal(self, client: str) -> Refusal | None:
        if self._now[client] >= self._at_once_per_client:
            return Refusal(
                "too_many_uploads",
                f"{self._now[client]} uploads of this client are unfinished. Finish one before the next.",
                retry_after_s=GRACE_S,
            )
        if self._now.total() >= self._at_once:
            return Refusal("uploads_full", "Too many uploads are unfinished. Try later.", retry_after_s=GRACE_S)
        return None

    async def body(self, incoming: Incoming, *, at_most: int) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes.

        Args:
            at_most: bytes.

        Raises:
            Refusal: it is too slow, or larger than `at_most`.
            ConnectionResetError: the client went away.
        """
        start = time.monotonic()
        while not incoming.finished:
            allowed_s = min(self.within_s, GRACE_S + incoming.size / (1e3 * self._min_kb_s))
            try:
                chunk = await incoming.chunk(within_s=start + allowed_s - time.monotonic())
            except TimeoutError:
                raise Refusal(
                    "slow_upload",
                    f"{incoming.size / 1e3:.0f} kB came in {time.monotonic() - start:.1f} s. An upload needs at least "
                    f"{self._min_kb_s:g} kB/s, and must be complete within {self.within_s:g} s. Send a smaller image.",
                ) from None
            if incoming.size > at_most:
                raise too_large(at_most)
            yield chunk


class Incoming:
    """A request's body: `size` bytes have come so far."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.size = 0
        self.finished = False

    async def chunk(self, *, within_s: float) -> bytes:
        """Return the next bytes. Raises TimeoutError, or ConnectionResetError: the client went away."""
        message = await asyncio.wait_for(self._receive(), within_s)
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        chunk: bytes = message.get("body", b"")
        self.size += len(chunk)
        self.finished = not message.get("more_body", False)
        return chunk


def too_large(max_bytes: int) -> Refusal:
    return Refusal("body_too_large", f"The upload is larger than {max_bytes / 1e6:g} MB. Send a smaller image.")
