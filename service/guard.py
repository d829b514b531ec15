"""What an upload must be before the service looks at it: an ASGI middleware in front of one POST path.

BentoML sets no limit on bodies, answers 500 to what is not an image, writes uploads to disk and, where a form field
holds a URL in place of a file, fetches it. Here the body is counted while it is read, parsed in memory and checked by
its header; the API method gets the encoded image alone.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, Headers, QueryParams, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from ferops.datasets.images import header_size
from ferops.datasets.kinds import HEAD_BYTES, refusal
from ferops.inference.extras import NONE, Wanted
from service.query import wanted
from service.refusals import Refusal
from service.uploads import Incoming, Uploads, client_of, too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    Take = Callable[[FormData, str, QueryParams], Awaitable[object]]

FIELD = "image"
UPLOAD = "ferops.upload"
"""Key of the ASGI scope under which the API method finds what `take` made of the form."""

FORM, JSON = "multipart/form-data", "application/json"
FILES = ("application/octet-stream", "application/zip")

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
    wanted: Wanted = NONE


class Guard:
    """Reads POST `path`, refuses what cannot be served, and passes the rest on, with what `take` returns in the scope.

    A request whose client goes away is cancelled.

    Args:
        take: makes of form, client and query what the API method wants; raises Refusal.
        form: the command that sends a form of this kind, for messages.
        max_files: in the form.
        until_answered: the request counts as an upload until it is answered, since it is held in memory for so long.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        path: str,
        max_body_mb: float,
        uploads: Uploads,
        take: Take,
        on_refusal: Callable[[str], None],
        form: str = CURL,
        max_files: int = 8,
        until_answered: bool = False,
    ) -> None:
        self._app = app
        self._path = path
        self._max_bytes = int(max_body_mb * 1e6)
        self._uploads = uploads
        self._take = take
        self._on_refusal = on_refusal
        self._form = form
        self._max_files = max_files
        self._until_answered = until_answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        incoming = Incoming(receive)
        async with AsyncExitStack() as place:
            try:
                upload = await self._upload(scope, incoming, place)
            except Refusal as refusal:
                self._on_refusal(refusal.code)
                await refuse(refusal, incoming, scope, send, at_most=DRAIN * self._max_bytes)
            except ConnectionResetError:
                await _GONE(scope, receive, send)
            else:
                if not self._until_answered:
                    await place.aclose()
                answering = asyncio.ensure_future(self._app({**scope, UPLOAD: upload}, _nothing_more, send))
                if not await _answered(answering, receive):
                    await _GONE(scope, receive, send)

    async def _upload(self, scope: Scope, incoming: Incoming, place: AsyncExitStack) -> object:
        client, headers = client_of(scope), Headers(scope=scope)
        query = QueryParams(scope.get("query_string", b""))
        found = headers.get("content-type", "no content type")
        kind = found.split(";")[0].strip().lower()
        if kind not in (FORM, JSON, *FILES) and not kind.startswith("image/"):
            raise Refusal(
                "not_multipart",
                f"The request has {found}. Supported: a form ({FORM}), as in: {self._form}; the file itself "
                f'({FILES[0]}, image/...); or {JSON}: {{"{FIELD}": "BASE64"}}',
            )
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise too_large(self._max_bytes)
        await place.enter_async_context(self._uploads.place(client))
        body = self._uploads.body(incoming, at_most=self._max_bytes)
        if kind != FORM:
            whole = b"".join([chunk async for chunk in body])
            form = FormData([(FIELD, UploadFile(io.BytesIO(_unwrapped(whole) if kind == JSON else whole)))])
            return await self._take(form, client, query)
        parser = MultiPartParser(headers, body, max_files=self._max_files, max_fields=8)
        parser.spool_max_size = 0  # 0: uploads stay in memory, whatever their size
        try:
            form = await parser.parse()
        except (MultiPartException, FormParserError, KeyError, ValueError) as error:
            reason = str(getattr(error, "message", "its boundary is missing or damaged")).rstrip(".")
            raise Refusal("bad_form", f"The form cannot be read: {reason}. Send one like this: {self._form}") from error
        try:
            return await self._take(form, client, query)
        finally:
            await form.close()


def one_image(*, max_megapixels: float) -> Take:
    """Return what takes the one image out of a form."""

    async def take(form: FormData, client: str, query: QueryParams) -> Upload:
        asked = wanted(query)
        values = form.getlist(FIELD)
        if len(values) > 1:
            raise Refusal("several_files", f"The form has several fields {FIELD}. Send one image per request: {CURL}")
        if not values:
            raise missing(form, CURL)
        encoded = content(values[0], CURL)
        size = megapixels(encoded, at_most=max_megapixels)
        return Upload(encoded=encoded, client=client, megapixels=size, wanted=asked)

    return take


def _unwrapped(body: bytes) -> bytes:
    """Return the file that a JSON object holds in base64."""
    try:
        found = json.loads(body)
        return base64.b64decode(found[FIELD], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refusal("bad_form", f'The JSON is not {{"{FIELD}": "BASE64"}}, with a file in base64.') from error


def missing(form: FormData, curl: str) -> Refusal:
    fields = ", ".join(sorted(set(form))) or "none"
    return Refusal("missing_field", f"The form has no field {FIELD} (found: {fields}). Send one like this: {curl}")


def content(value: UploadFile | str, curl: str) -> bytes:
    """Return the bytes of a file in a form. Raises Refusal: the field holds text."""
    if isinstance(value, str):  # never fetched, though it may be a URL
        raise Refusal("not_a_file", f"The field {FIELD} holds text, not a file. Note the @ in: {curl}")
    return bytes(value.file.read())  # it lies in memory: `UploadFile.read` would ask a thread


def megapixels(encoded: bytes, *, at_most: float) -> float:
    """Return the size that the header of an image states. Raises Refusal: it cannot be served."""
    if not encoded:
        raise Refusal("empty_file", "The file is empty. Send an image.")
    width, height = header_size(encoded)
    if width * height == 0:
        raise Refusal("not_an_image", refusal(encoded[:HEAD_BYTES]))
    if width * height > at_most * 1e6:
        raise Refusal(
            "too_many_pixels",
            f"The image has {width}x{height} pixels. Supported: up to {at_most:g} megapixels. Send a smaller image.",
        )
    return width * height / 1e6


async def refuse(refusal: Refusal, incoming: Incoming, scope: Scope, send: Send, *, at_most: int) -> None:
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
