"""BentoML's OpenAPI page, completed: the answers of POST /predict that are not predictions."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from bentoml._internal.service.openapi.specification import MediaType, Response, Schema

from service.refusals import CODES

SCHEMA = Schema(
    type="object",
    properties={
        "error": Schema(type="string", description="what to do, for people"),
        "code": Schema(type="string", description="the reason, for programs"),
    },
    required=["error", "code"],
)


def described(specification: Any) -> Any:
    """Return BentoML's specification with every status that POST /predict gives, and its codes."""
    post = specification.paths["/predict"].post
    post["responses"] = {HTTPStatus.OK.value: post["responses"][HTTPStatus.OK.value]}
    for status in sorted(set(CODES.values())):
        codes = sorted(code for code, its in CODES.items() if its == status)
        note = "; the header Retry-After says when to try again" if status in (429, 503) else ""
        post["responses"][status] = Response(
            description=f"{HTTPStatus(status).phrase}. Codes: {', '.join(codes)}{note}",
            content={"application/json": MediaType(schema=SCHEMA)},
        )
    return specification
