"""The answers of HTTP as messages of ferops.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from service import ferops_pb2
from service.refusals import Refusal

if TYPE_CHECKING:
    from ferops.inference.answer import Answer
    from ferops.inference.several import BatchAnswer, StreamAnswer


def message_of(answer: Answer) -> Any:
    """Return the answer as a message; a field that ferops.proto lacks is an error."""
    return json_format.ParseDict(_answer(answer.as_json()), ferops_pb2.Answer())


def batch_message_of(answer: BatchAnswer) -> Any:
    """As `message_of`, of a batch."""
    found = answer.as_json()
    for image in found["images"]:
        if image["answer"] is not None:
            image["answer"] = _answer(image["answer"])
    return json_format.ParseDict(found, ferops_pb2.BatchAnswer())


def reply_of(said: StreamAnswer | Refusal) -> Any:
    """As `message_of`, of what a stream says of a frame."""
    if isinstance(said, Refusal):
        refusal = ferops_pb2.FrameRefusal(code=said.code, error=said.message, retry_after_s=said.retry_after_s or 0)
        return ferops_pb2.StreamReply(refusal=refusal)
    answer = json_format.ParseDict(_points(said.as_json()), ferops_pb2.StreamAnswer())
    return ferops_pb2.StreamReply(answer=answer)


def _answer(found: dict[str, Any]) -> dict[str, Any]:
    for heat in found["extras"]["heat"]:
        heat["cells"] = [{"values": row} for row in heat["cells"]]
    return _points(found)


def _points(found: dict[str, Any]) -> dict[str, Any]:
    for face in found["faces"]:
        face["landmarks"] = {name: {"x": x, "y": y} for name, (x, y) in face["landmarks"].items()}
    return found
