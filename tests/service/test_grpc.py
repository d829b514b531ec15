"""The gRPC interface: the answers of HTTP, its limits and its keys; health and reflection."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from PIL import Image
from service.grpc_server import NAME, Grpc, message_of
from service.guard import Upload
from service.keys import Keys
from service.refusals import Refusal
from service.uploads import Uploads

from answers import face, prediction, release
from exports import export_config
from ferops.api_keys import add_key
from ferops.config import Params
from ferops.inference import answer as answers
from ferops.inference.extras import Extras, HeatAnswer
from service import ferops_pb2

SERVICE = Path(__file__).parents[2] / "service"


def png(size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Service:
    """The server with an answer that is always the same; `waits` holds it back."""

    def __init__(self, params: Params, *, keys: Keys | None = None) -> None:
        limits = params.serve.model_copy(update={"max_body_mb": 0.1, "max_image_megapixels": 1, "upload_s": 2.5})
        self.release = release(limits)
        self.seen: list[Upload] = []
        self.refused: list[str] = []
        self.refusal: Refusal | None = None
        self.waits = asyncio.Event()
        self.waits.set()
        self.cancelled = False
        self.ready = True
        self.grpc = Grpc(
            limits,
            keys=keys,
            uploads=Uploads(at_once=2, at_once_per_client=1, within_s=5, min_kb_s=1),
            predict=self.predict,
            info=lambda: answers.info(release=self.release, config=export_config()),
            is_ready=lambda: self.ready,
            on_refusal=self.refused.append,
        )

    async def predict(self, upload: Upload) -> answers.Answer:
        self.seen.append(upload)
        if self.refusal:
            raise self.refusal
        try:
            await self.waits.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self.answer()

    def answer(self) -> answers.Answer:
        heat = HeatAnswer(method="occlusion", cells=((0.0, 0.5), (1.0, 0.25)), fall=0.3)
        return answers.answer(
            prediction(face()),
            release=self.release,
            first_frame_only=False,
            timing_ms={"predict": 1.5},
            extras=Extras(heat=(heat,), faces_explained=1, crops=("YWI=",), blurred="YWJj"),
        )


def run(service: Service, play: Callable[[Any], Awaitable[None]]) -> None:
    async def go() -> None:
        port = await service.grpc.start("127.0.0.1:0")
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await play(channel)
        finally:
            await service.grpc.stop()

    asyncio.run(go())


def predict(channel: Any, **request: Any) -> Any:
    method = channel.unary_unary(
        f"/{NAME}/Predict",
        request_serializer=ferops_pb2.PredictRequest.SerializeToString,
        response_deserializer=ferops_pb2.Answer.FromString,
    )
    metadata, timeout = request.pop("metadata", None), request.pop("timeout", 10)
    return method(ferops_pb2.PredictRequest(**request), metadata=metadata, timeout=timeout)


async def refused(channel: Any, **request: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await predict(channel, **request)
    return error.value.code(), dict(error.value.trailing_metadata()).get("ferops-code", "")


def test_the_answer_is_that_of_http(quick_params: Params) -> None:
    service = Service(quick_params)

    async def play(channel: Any) -> None:
        answer = await predict(channel, image=png(), explain=True, blur=True)
        expected = service.answer().as_json()
        assert answer.faces[0].label == expected["faces"][0]["label"] == "happy"
        assert dict(answer.faces[0].probabilities) == expected["faces"][0]["probabilities"]
        nose = answer.faces[0].landmarks["nose"]
        assert [nose.x, nose.y] == list(expected["faces"][0]["landmarks"]["nose"])
        assert [list(row.values) for row in answer.extras.heat[0].cells] == [[0, 0.5], [1, 0.25]]
        assert (answer.extras.crops[0], answer.extras.blurred) == (b"ab", b"abc")
        assert (answer.faces_found, answer.model_version, answer.timing_ms["predict"]) == (1, "3", 1.5)
        wanted = service.seen[0].wanted
        assert (wanted.explain, wanted.crops, wanted.blur, service.seen[0].client) == (True, False, True, "127.0.0.1")
        info = channel.unary_unary(
            f"/{NAME}/Info",
            request_serializer=empty_pb2.Empty.SerializeToString,
            response_deserializer=struct_pb2.Struct.FromString,
        )
        assert json_format.MessageToDict(await info(empty_pb2.Empty()))["tag"] == "ferops:v3"

    run(service, play)


def test_every_field_of_an_answer_is_in_the_proto(quick_params: Params) -> None:
    answer = Service.answer(Service(quick_params))
    message = message_of(answer)
    known = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert set(known) == set(answer.as_json())


def test_refusals_have_a_status_and_a_code(quick_params: Params) -> None:
    service = Service(quick_params)

    async def play(channel: Any) -> None:
        status = grpc.StatusCode
        assert await refused(channel, image=b"%PDF") == (status.INVALID_ARGUMENT, "not_an_image")
        assert await refused(channel, image=png(1500)) == (status.RESOURCE_EXHAUSTED, "too_many_pixels")
        assert (await refused(channel, image=b"0" * 200_000))[0] == status.RESOURCE_EXHAUSTED  # by gRPC itself
        assert service.refused[:2] == ["not_an_image", "too_many_pixels"]
        service.refusal = Refusal("queue_full", "Try later.", retry_after_s=3)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await predict(channel, image=png())
        assert error.value.code() == status.UNAVAILABLE
        assert dict(error.value.trailing_metadata()) == {"ferops-code": "queue_full", "retry-after": "3"}
        never_sent = channel.stream_unary(f"/{NAME}/Predict")(timeout=10)
        await asyncio.sleep(0.2)
        assert await refused(channel, image=png()) == (status.RESOURCE_EXHAUSTED, "too_many_uploads")
        assert await never_sent.code() == status.DEADLINE_EXCEEDED  # upload_s

    run(service, play)


def test_a_client_whose_deadline_passes_leaves_the_queue(quick_params: Params) -> None:
    service = Service(quick_params)
    service.waits.clear()

    async def play(channel: Any) -> None:
        assert (await refused(channel, image=png(), timeout=0.3))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        async with asyncio.timeout(5):
            while not service.cancelled:
                await asyncio.sleep(0.02)
        service.waits.set()

    run(service, play)


def test_a_key_is_asked_for_and_makes_the_client(quick_params: Params, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    key = add_key(file, "clinic")
    service = Service(quick_params, keys=Keys(file))

    async def play(channel: Any) -> None:
        status = grpc.StatusCode.UNAUTHENTICATED
        assert await refused(channel, image=png()) == (status, "no_key")
        assert await refused(channel, image=png(), metadata=(("authorization", "Bearer x"),)) == (status, "wrong_key")
        await predict(channel, image=png(), metadata=(("authorization", f"Bearer {key}"),))
        assert [upload.client for upload in service.seen] == ["key clinic"]

    run(service, play)


def test_health_and_reflection(quick_params: Params) -> None:
    service = Service(quick_params)

    async def play(channel: Any) -> None:
        health = health_pb2_grpc.HealthStub(channel)
        for ready, status in ((True, "SERVING"), (False, "NOT_SERVING")):
            service.ready = ready
            async with asyncio.timeout(5):
                while (await health.Check(health_pb2.HealthCheckRequest(service=NAME))).status != (
                    health_pb2.HealthCheckResponse.ServingStatus.Value(status)
                ):
                    await asyncio.sleep(0.05)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        async for listed in reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked])):
            assert NAME in [each.name for each in listed.list_services_response.service]

    run(service, play)


def test_the_generated_code_is_that_of_the_proto(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I",
        ".",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
    ]
    subprocess.run([*command, "ferops.proto"], cwd=SERVICE, check=True)
    for name in ("ferops_pb2.py", "ferops_pb2.pyi"):
        assert (tmp_path / name).read_text() == (SERVICE / name).read_text(), "run: make proto"
