"""BentoML's OpenAPI page, completed: the answers of POST /predict that are not predictions."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from service.refusals import CODES

SCHEMA = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "what to do, for people"},
        "code": {"type": "string", "description": "the reason, for programs"},
    },
    "required": ["error", "code"],
}


def described(specification: Any) -> Any:
    """Return BentoML's specification with every status that POST /predict gives, and its codes."""
    responses = specification.paths["/predict"].post["responses"]
    for status in set(responses) - {HTTPStatus.OK.value}:
        del responses[status]
    for status in sorted(set(CODES.values())):
        codes = sorted(code for code, its in CODES.items() if its == status)
        note = "; the header Retry-After says when to try again" if status in (429, 503) else ""
        responses[status] = {
            "description": f"{HTTPStatus(status).phrase}. Codes: {', '.join(codes)}{note}",
            "content": {"application/json": {"schema": SCHEMA}},
        }
    return specification
