"""GET /docs.json: every path of the service with its answers, in OpenAPI 3.1, made of the schemas of its records."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from ferops.inference.answer import Answer, Info
from ferops.inference.extras import MAX_EXPLAINED
from ferops.inference.several import BatchAnswer, StreamAnswer
from service import batch, guard
from service.refusals import CODES, NOT_OF_UPLOADS, OF_STREAMS
from service.stream import READ_FPS

if TYPE_CHECKING:
    from ferops.records import Record
    from ferops.records.release import Release

ANSWERS: tuple[type[Record], ...] = (Answer, BatchAnswer, StreamAnswer, Info)

REFUSAL = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "what to do, for people"},
        "code": {"type": "string", "description": "the reason, for programs", "enum": sorted(CODES)},
    },
    "required": ["error", "code"],
}
IMAGE = {
    "type": "string",
    "format": "binary",
    "description": "JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF, and HEIC where `pillow-heif` is installed",
}
WRAPPED = {
    "type": "object",
    "properties": {guard.FIELD: {"type": "string", "contentEncoding": "base64", "description": "the file, in base64"}},
    "required": [guard.FIELD],
}
EXTRAS = {
    "explain": f"a heat map for each of the first {MAX_EXPLAINED} faces: what spoke for the label",
    "crops": "the faces as the model saw them",
    "blur": "the image with unrecognisable faces",
}
IMAGES = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "string", "format": "binary"},
    "description": "images, and zips of images",
}

REFUSED = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}

STREAM = {
    "get": {
        "summary": "a WebSocket: frames of a camera in, answers out",
        "description": "Send each frame as a binary message, such as a JPEG. Each answer is a text message, a "
        f"StreamAnswer or a Refusal; further codes: {', '.join(sorted(OF_STREAMS))}.",
        "parameters": [
            {
                "name": "fps",
                "in": "query",
                "description": "the frames are those of a video, so many a second: its time counts, not when they come",
                "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": READ_FPS},
                "example": 5,
            }
        ],
        "responses": {
            "101": {
                "description": "the stream is open",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/StreamAnswer"}}},
            },
            "403": {"description": "Forbidden. Code: foreign_origin", "content": REFUSED},
            "426": {"description": "Upgrade Required. Code: not_a_websocket", "content": REFUSED},
        },
    }
}


def document(release: Release) -> dict[str, Any]:
    """Return the document about the Bento `release`."""
    _, definitions = models_json_schema(
        [(answer, "serialization") for answer in ANSWERS], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ferops",
            "version": release.tag.partition(":")[2],
            "description": "Labels the visible expression of every face in an image. "
            "The label is not what the person feels.",
        },
        "servers": [{"url": "."}],
        "paths": {
            "/predict": _upload("the faces of an image", Answer, IMAGE, guard.CURL, EXTRAS),
            "/predict/batch": _upload("the faces of several images, in their order", BatchAnswer, IMAGES, batch.CURL),
            "/stream": STREAM,
            "/info": _get("the model: versions, uses and limits", _content(Info)),
            "/": _get("the page for people", {"text/html": {}}),
            "/readyz": _get("whether the model is loaded", {}, {"503": {"description": "it is not, at present"}}),
            "/livez": _get("whether the server answers", {}),
            "/metrics": _get("counters in the format of Prometheus", {"text/plain": {}}),
        },
        "components": {"schemas": {**definitions["$defs"], "Refusal": REFUSAL}},
    }


def _upload(
    summary: str, answer: type[Record], field: dict[str, Any], curl: str, query: dict[str, str] | None = None
) -> dict[str, Any]:
    form = {"type": "object", "properties": {guard.FIELD: field}, "required": [guard.FIELD]}
    return {
        "post": {
            "summary": summary,
            "description": f"`{curl}`",
            "parameters": [
                {"name": name, "in": "query", "description": what, "schema": {"type": "boolean"}}
                for name, what in (query or {}).items()
            ],
            "requestBody": {
                "required": True,
                "content": {guard.FORM: {"schema": form}, guard.JSON: {"schema": WRAPPED}, guard.FILES[0]: {}},
            },
            "responses": {"200": {"description": summary, "content": _content(answer)}, **_refusals()},
        }
    }


def _get(summary: str, content: dict[str, Any], others: dict[str, Any] | None = None) -> dict[str, Any]:
    fine = {"description": summary, "content": content} if content else {"description": summary}
    return {"get": {"summary": summary, "responses": {"200": fine, **(others or {})}}}


def _content(answer: type[Record]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer.__name__}"}}}


def _refusals() -> dict[str, Any]:
    """Return every status that an upload may get besides 200, with its codes."""
    found: dict[str, Any] = {}
    for status in sorted({status for code, status in CODES.items() if code not in NOT_OF_UPLOADS}):
        codes = ", ".join(code for code, its in CODES.items() if its == status and code not in NOT_OF_UPLOADS)
        found[str(status)] = {
            "description": f"{HTTPStatus(status).phrase}. Codes: {codes}",
            "content": REFUSED,
        }
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            found[str(status)]["headers"] = {
                "Retry-After": {"description": "seconds until another try may succeed", "schema": {"type": "integer"}}
            }
    return found
