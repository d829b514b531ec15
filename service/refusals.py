"""Every answer of POST /predict that is not a prediction: its status and its code."""

from __future__ import annotations

import math

from starlette.responses import JSONResponse

CODES = {
    "bad_form": 400,
    "bad_header": 400,
    "slow_upload": 408,
    "body_too_large": 413,
    "too_many_pixels": 413,
    "not_multipart": 415,
    "not_an_image": 415,
    "missing_field": 422,
    "not_a_file": 422,
    "several_files": 422,
    "empty_file": 422,
    "damaged_image": 422,
    "too_many_uploads": 429,
    "too_many_images": 429,
    "too_many_connections": 429,
    "crashed": 500,
    "failed": 500,
    "uploads_full": 503,
    "queue_full": 503,
    "connections_full": 503,
    "not_ready": 503,
    "timeout": 504,
}
"""Code, for programs -> HTTP status. The OpenAPI page lists exactly these."""


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
        return JSONResponse({"error": self.message, "code": self.code}, status_code=self.status, headers=headers)
