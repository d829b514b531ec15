"""What an upload must be before the service looks at it: an ASGI middleware in front of POST /predict.

BentoML sets no limit on bodies, answers 500 to what is not an image, writes uploads to disk and, where a form field
holds a URL in place of a file, fetches it. Here the body is counted while it is read, parsed in memory and checked by
its header; the API method gets the encoded image alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import JSONResponse

from ferops.datasets.images import FORMATS, header_size

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FIELD = "image"
UPLOAD = "ferops.upload"
"""Key of the ASGI scope under which the API method finds the encoded image (bytes)."""

CURL = "curl -F image=@photo.jpg URL/predict"

# A client that is still sending sees a broken connection, not the answer, unless its data is read; but not for ever
DRAIN = 4


class Refusal(Exception):  # noqa: N818 # a refusal is an answer, not a fault
    """An upload that is not served. `code` names the reason for programs, `message` says what to do."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def response(self) -> JSONResponse:
        return JSONResponse({"error": self.message, "code": self.code}, status_code=self.status)


class Guard:
    """Reads POST `path`, refuses what cannot be served, and passes the rest on with the image in the scope."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        path: str,
        max_body_mb: float,
        max_megapixels: float,
        on_refusal: Callable[[str], None],
    ) -> None:
        self._app = app
        self._path = path
        self._max_bytes = int(max_body_mb * 1e6)
        self._max_body_mb = max_body_mb
        self._max_megapixels = max_megapixels
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            encoded = await self._upload(Headers(scope=scope), receive)
            self._check(encoded)
        except Refusal as refusal:
            self._on_refusal(refusal.code)
            await refusal.response()(scope, receive, send)
        except ConnectionResetError:
            return  # the client went away: nobody is there to answer
        else:
            await self._app({**scope, UPLOAD: encoded}, _nothing_more, send)

    async def _upload(self, headers: Headers, receive: Receive) -> bytes:
        if headers.get("content-type", "").split(";")[0].strip().lower() != "multipart/form-data":
            found = headers.get("content-type", "no content type")
            raise Refusal(
                415, "not_multipart", f"The request has {found}. Supported: a form (multipart/form-data), as in: {CURL}"
            )
        body = await self._body(headers, receive)
        parser = MultiPartParser(headers, _once(body), max_files=8, max_fields=8)
        parser.spool_max_size = 0  # 0: uploads stay in memory, whatever their size
        try:
            form = await parser.parse()
        except (MultiPartException, FormParserError, KeyError, ValueError) as error:
            reason = str(getattr(error, "message", "its boundary is missing or damaged")).rstrip(".")
            raise Refusal(400, "bad_form", f"The form cannot be read: {reason}. Send one like this: {CURL}") from error
        try:
            return await _image(form)
        finally:
            await form.close()

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        declared = headers.get("content-length", "")
        # curl asks before it sends much (Expect: 100-continue): refuse at once
        if declared.isdigit() and int(declared) > self._max_bytes and "expect" in headers:
            raise self._too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            size += len(message.get("body", b""))
            if size <= self._max_bytes:
                chunks.append(message.get("body", b""))
            else:
                chunks.clear()
            if not message.get("more_body", False) or size > DRAIN * self._max_bytes:
                break
        if size > self._max_bytes:
            raise self._too_large()
        return b"".join(chunks)

    def _too_large(self) -> Refusal:
        return Refusal(
            413, "body_too_large", f"The upload is larger than {self._max_body_mb:g} MB. Send a smaller image."
        )

    def _check(self, encoded: bytes) -> None:
        if not encoded:
            raise Refusal(422, "empty_file", "The file is empty. Send an image.")
        width, height = header_size(encoded)
        if width * height == 0:
            raise Refusal(
                415, "not_an_image", f"The file is not a readable image. Supported formats: {', '.join(FORMATS)}."
            )
        if width * height > self._max_megapixels * 1e6:
            raise Refusal(
                413,
                "too_many_pixels",
                f"The image has {width}x{height} pixels. Supported: up to {self._max_megapixels:g} megapixels. "
                "Send a smaller image.",
            )


async def _image(form: FormData) -> bytes:
    values = form.getlist(FIELD)
    if len(values) > 1:
        raise Refusal(422, "several_files", f"The form has several fields {FIELD}. Send one image per request: {CURL}")
    if not values:
        fields = ", ".join(sorted(set(form))) or "none"
        raise Refusal(
            422, "missing_field", f"The form has no field {FIELD} (found: {fields}). Send one like this: {CURL}"
        )
    if isinstance(values[0], str):  # never fetched, though it may be a URL
        raise Refusal(422, "not_a_file", f"The field {FIELD} holds text, not a file. Note the @ in: {CURL}")
    return await values[0].read()


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
