"""Every answer of the service that is not a prediction: its status and its code."""

from __future__ import annotations

import math
from http import HTTPStatus

from starlette.responses import JSONResponse

CODES = {
    "bad_form": 400,
    "bad_header": 400,
    "bad_query": 400,
    "no_key": 401,
    "wrong_key": 401,
    "foreign_origin": 403,
    "no_such_path": 404,
    "slow_upload": 408,
    "idle": 408,
    "body_too_large": 413,
    "too_many_pixels": 413,
    "too_many_files": 413,
    "not_multipart": 415,
    "not_an_image": 415,
    "missing_field": 422,
    "not_a_file": 422,
    "several_files": 422,
    "empty_file": 422,
    "damaged_image": 422,
    "bad_zip": 422,
    "not_a_websocket": 426,
    "head_too_large": 431,
    "too_many_uploads": 429,
    "too_many_images": 429,
    "too_many_connections": 429,
    "too_many_streams": 429,
    "crashed": 500,
    "failed": 500,
    "uploads_full": 503,
    "queue_full": 503,
    "connections_full": 503,
    "streams_full": 503,
    "not_ready": 503,
    "timeout": 504,
}
"""Code, for programs -> HTTP status. The OpenAPI page lists exactly these."""

OF_STREAMS = frozenset({"foreign_origin", "idle", "not_a_websocket", "too_many_streams", "streams_full"})
"""WS /stream gives these as well as some of the others; no other path gives them."""

NOT_OF_UPLOADS = OF_STREAMS | {"no_such_path"}


class Refusal(Exception):  # noqa: N818 # a refusal is an answer, not a fault
    """A request that is not served. `code` names the reason for programs, `message` says what to do.

    With `retry_after_s` the same request may succeed after that many seconds.
    """

    def __init__(self, code: str, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = CODES[code]
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        headers = {} if self.retry_after_s is None else {"retry-after": str(max(1, math.ceil(self.retry_after_s)))}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = "Bearer"
        if self.status == HTTPStatus.UPGRADE_REQUIRED:
            headers |= {"upgrade": "websocket", "connection": "upgrade"}
        return JSONResponse({"error": self.message, "code": self.code}, status_code=self.status, headers=headers)
