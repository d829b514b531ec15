"""What an upload must be before the service looks at it: an ASGI middleware in front of POST /predict.

BentoML sets no limit on bodies, answers 500 to what is not an image, writes uploads to disk and, where a form field
holds a URL in place of a file, fetches it. Here the body is counted while it is read, parsed in memory and checked by
its header; the API method gets the encoded image alone.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from ferops.datasets.images import FORMATS, header_size
from service.refusals import Refusal
from service.uploads import Incoming, Uploads, client_of, too_large

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FIELD = "image"
UPLOAD = "ferops.upload"
"""Key of the ASGI scope under which the API method finds the `Upload`."""

CURL = "curl -F image=@photo.jpg URL/predict"

# A client that is still sending sees a broken connection, not the answer, unless its data is read; but not for ever
DRAIN = 4
DRAIN_S = 3.0

# Nobody is there to read it; BentoML's log and its timer see that the request is over
_GONE = Response(status_code=499)


@dataclass(frozen=True)
class Upload:
    """An image that may be looked at; `client` sent it."""

    encoded: bytes
    client: str
    megapixels: float


class Guard:
    """Reads POST `path`, refuses what cannot be served, and passes the rest on with an `Upload` in the scope.

    A request whose client goes away is cancelled.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        path: str,
        max_body_mb: float,
        max_megapixels: float,
        uploads: Uploads,
        on_refusal: Callable[[str], None],
    ) -> None:
        self._app = app
        self._path = path
        self._max_bytes = int(max_body_mb * 1e6)
        self._max_megapixels = max_megapixels
        self._uploads = uploads
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        incoming = Incoming(receive)
        try:
            upload = await self._upload(client_of(scope), Headers(scope=scope), incoming)
        except Refusal as refusal:
            self._on_refusal(refusal.code)
            await _refuse(refusal, incoming, scope, send, at_most=DRAIN * self._max_bytes)
        except ConnectionResetError:
            await _GONE(scope, receive, send)
        else:
            answering = asyncio.ensure_future(self._app({**scope, UPLOAD: upload}, _nothing_more, send))
            if not await _answered(answering, receive):
                await _GONE(scope, receive, send)

    async def _upload(self, client: str, headers: Headers, incoming: Incoming) -> Upload:
        found = headers.get("content-type", "no content type")
        if found.split(";")[0].strip().lower() != "multipart/form-data":
            raise Refusal(
                "not_multipart", f"The request has {found}. Supported: a form (multipart/form-data), as in: {CURL}"
            )
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise too_large(self._max_bytes)
        async with self._uploads.place(client):
            parser = MultiPartParser(
                headers, self._uploads.body(incoming, at_most=self._max_bytes), max_files=8, max_fields=8
            )
            parser.spool_max_size = 0  # 0: uploads stay in memory, whatever their size
            try:
                form = await parser.parse()
            except (MultiPartException, FormParserError, KeyError, ValueError) as error:
                reason = str(getattr(error, "message", "its boundary is missing or damaged")).rstrip(".")
                raise Refusal("bad_form", f"The form cannot be read: {reason}. Send one like this: {CURL}") from error
        try:
            encoded = await _image(form)
        finally:
            await form.close()
        return Upload(encoded=encoded, client=client, megapixels=self._megapixels(encoded))

    def _megapixels(self, encoded: bytes) -> float:
        if not encoded:
            raise Refusal("empty_file", "The file is empty. Send an image.")
        width, height = header_size(encoded)
        if width * height == 0:
            raise Refusal("not_an_image", f"The file is not a readable image. Supported formats: {', '.join(FORMATS)}.")
        if width * height > self._max_megapixels * 1e6:
            raise Refusal(
                "too_many_pixels",
                f"The image has {width}x{height} pixels. Supported: up to {self._max_megapixels:g} megapixels. "
                "Send a smaller image.",
            )
        return width * height / 1e6


async def _image(form: FormData) -> bytes:
    values = form.getlist(FIELD)
    if len(values) > 1:
        raise Refusal("several_files", f"The form has several fields {FIELD}. Send one image per request: {CURL}")
    if not values:
        fields = ", ".join(sorted(set(form))) or "none"
        raise Refusal("missing_field", f"The form has no field {FIELD} (found: {fields}). Send one like this: {CURL}")
    if isinstance(values[0], str):  # never fetched, though it may be a URL
        raise Refusal("not_a_file", f"The field {FIELD} holds text, not a file. Note the @ in: {CURL}")
    return await values[0].read()


async def _refuse(refusal: Refusal, incoming: Incoming, scope: Scope, send: Send, *, at_most: int) -> None:
    """Answer at once, and read what is still coming: a client that is sending sees the answer only afterwards."""
    response = refusal.response()
    if incoming.finished:
        await response(scope, _nothing_more, send)
        return
    response.headers["connection"] = "close"
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    deadline_s = time.monotonic() + DRAIN_S
    with suppress(TimeoutError, ConnectionResetError):
        while not incoming.finished and incoming.size < at_most and "expect" not in Headers(scope=scope):
            await incoming.chunk(within_s=deadline_s - time.monotonic())
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _answered(answering: asyncio.Future[None], receive: Receive) -> bool:
    """Wait for `answering`; cancel it when the client goes away, since others can use its place in the queue."""
    gone = asyncio.ensure_future(receive())
    try:
        await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            answering.result()
        return answering.done()
    finally:
        answering.cancel()
        gone.cancel()


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
