"""The gRPC interface: the answers of HTTP, its limits and its keys; health and reflection."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import zipfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from PIL import Image
from service.batch import Batches
from service.grpc_messages import batch_message_of, message_of, reply_of
from service.grpc_server import FPS, NAME, Grpc
from service.guard import Upload
from service.keys import Keys
from service.refusals import Refusal
from service.stream import Streams
from service.uploads import Uploads

from answers import face, prediction, release
from exports import export_config
from ferops.api_keys import add_key
from ferops.config import Params
from ferops.inference import answer as answers
from ferops.inference.extras import Extras, HeatAnswer
from ferops.inference.several import BatchAnswer, BatchImage, StreamAnswer, stream_answer
from service import ferops_pb2

SERVICE = Path(__file__).parents[2] / "service"


def png(size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Service:
    """The server with an answer that is always the same; `waits` holds it back."""

    def __init__(self, params: Params, *, keys: Keys | None = None) -> None:
        limits = params.serve.model_copy(
            update={
                "max_body_mb": 0.1,
                "max_image_megapixels": 1,
                "upload_s": 2.5,
                "max_batch_images": 3,
                "max_batch_mb": 0.2,
                "max_streams_per_client": 1,
                "max_stream_fps": 1000.0,
            }
        )
        self.release = release(limits)
        self.seen: list[Upload] = []
        self.refused: list[str] = []
        self.refusal: Refusal | None = None
        self.waits = asyncio.Event()
        self.waits.set()
        self.cancelled = False
        self.ready = True
        self.frames: list[dict[str, Any]] = []
        self.forgotten: list[int] = []
        self.streams = Streams(limits, on_refusal=self.refused.append)
        self.streams.look, self.streams.forget = self.look, self.forget
        batches = Batches(limits)
        self.grpc = Grpc(
            limits,
            keys=keys,
            uploads=Uploads(at_once=2, at_once_per_client=1, within_s=5, min_kb_s=1),
            predict=self.predict,
            batches=batches,
            batch_uploads=Uploads(at_once=1, at_once_per_client=1, within_s=2.5, min_kb_s=1),
            predict_batch=partial(batches.answer, predict=self.predict_one),
            streams=self.streams,
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

    async def predict_one(self, encoded: bytes, client: str, megapixels: float) -> answers.Answer:
        return await self.predict(Upload(encoded, client, megapixels))

    async def look(self, job: Any, stream: int, client: str, megapixels: float) -> StreamAnswer:  # noqa: ARG002
        self.frames.append({**job.keywords, "client": client, "megapixels": megapixels})
        if self.refusal:
            raise self.refusal
        await self.waits.wait()
        kept = {name: job.keywords[name] for name in ("frame", "frames_dropped")}
        return stream_answer(prediction(face()), [7], max_faces=20, timing_ms={"predict": 1.5}, **kept)

    async def forget(self, stream: int) -> None:
        self.forgotten.append(stream)

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


def predict_batch(channel: Any, *files: tuple[str, bytes], **options: Any) -> Any:
    method = channel.stream_unary(
        f"/{NAME}/PredictBatch",
        request_serializer=ferops_pb2.BatchRequest.SerializeToString,
        response_deserializer=ferops_pb2.BatchAnswer.FromString,
    )
    messages = [ferops_pb2.BatchRequest(name=name, image=image) for name, image in files]
    return method(iter(messages), timeout=10, **options)


def stream(channel: Any, frames: Any = None, **options: Any) -> Any:
    """Open a stream; without `frames` they are written one by one."""
    method = channel.stream_stream(
        f"/{NAME}/Stream",
        request_serializer=ferops_pb2.Frame.SerializeToString,
        response_deserializer=ferops_pb2.StreamReply.FromString,
    )
    return method(frames, timeout=20, **options)


async def ended(call: Any) -> tuple[Any, str]:
    """Return status and code of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await (call if hasattr(call, "__await__") else call.read())
    return error.value.code(), dict(error.value.trailing_metadata()).get("ferops-code", "")


async def refused(channel: Any, **request: Any) -> tuple[Any, str]:
    return await ended(predict(channel, **request))


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
    batch = BatchAnswer(
        images=(BatchImage(name="one.png", answer=answer, code="", error=""),),
        images_found=1,
        images_answered=1,
        left_out={"no image": 2},
        max_images=64,
        max_mb=50,
    )
    frame = stream_answer(prediction(face()), [7], frame=1, frames_dropped=0, max_faces=20, timing_ms={"predict": 1})
    for given, message in (
        (answer, message_of(answer)),
        (batch, batch_message_of(batch)),
        (frame, reply_of(frame).answer),
    ):
        known = json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        assert set(known) == set(given.as_json())
    assert set(known["faces"][0]) == set(frame.as_json()["faces"][0])


def test_a_batch_is_answered_image_by_image(quick_params: Params) -> None:
    service = Service(quick_params)

    async def play(channel: Any) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("inside.png", png(9))
            archive.writestr(".DS_Store", b"x")
        files = (("one.png", png()), ("", b"%PDF"), ("photos.zip", buffer.getvalue()))
        answer = await predict_batch(channel, *files)
        assert [image.name for image in answer.images] == ["one.png", "image 2", "photos.zip/inside.png"]
        assert [image.HasField("answer") for image in answer.images] == [True, False, True]
        assert answer.images[0].answer.faces[0].label == "happy"
        assert answer.images[1].code == "not_an_image"
        assert (answer.images_found, answer.images_answered, answer.max_images) == (3, 2, 3)
        assert sum(answer.left_out.values()) == 1
        assert {upload.client for upload in service.seen} == {"127.0.0.1"}

    run(service, play)


def test_a_batch_has_the_limits_of_http(quick_params: Params) -> None:
    service = Service(quick_params)

    async def play(channel: Any) -> None:
        status = grpc.StatusCode
        assert await ended(predict_batch(channel)) == (status.INVALID_ARGUMENT, "empty_file")
        four = [("", png())] * 4
        assert await ended(predict_batch(channel, *four)) == (status.RESOURCE_EXHAUSTED, "too_many_files")
        large = [("", b"0" * 90_000)] * 3
        assert await ended(predict_batch(channel, *large)) == (status.RESOURCE_EXHAUSTED, "body_too_large")
        never_ends = channel.stream_unary(f"/{NAME}/PredictBatch")(timeout=10)
        await asyncio.sleep(0.2)
        again = predict_batch(channel, ("", png()))
        assert await ended(again) == (status.RESOURCE_EXHAUSTED, "too_many_uploads")
        assert await never_ends.code() == status.DEADLINE_EXCEEDED
        assert service.refused[-1] == "slow_upload"

    run(service, play)


def test_a_stream_answers_the_latest_frame_and_its_last(quick_params: Params) -> None:
    service = Service(quick_params)
    service.waits.clear()

    async def play(channel: Any) -> None:
        call = stream(channel, metadata=((FPS, "5"),))
        for _ in range(4):
            await call.write(ferops_pb2.Frame(image=png()))
            await asyncio.sleep(0.1)
        service.waits.set()
        await call.done_writing()
        replies = [reply.answer async for reply in call]
        assert [(reply.frame, reply.frames_dropped) for reply in replies] == [(1, 0), (4, 2)]
        assert (replies[0].faces[0].track, replies[0].faces[0].label) == (7, "happy")
        assert await call.code() == grpc.StatusCode.OK
        assert [frame["time_s"] for frame in service.frames] == [0, 0.6]  # of the video
        assert service.forgotten == [service.frames[0]["stream"]]
        assert not service.streams._open

    run(service, play)


def test_a_stream_goes_on_after_a_bad_frame_and_is_refused_beyond_the_limit(quick_params: Params) -> None:
    service = Service(quick_params)

    async def play(channel: Any) -> None:
        status = grpc.StatusCode
        call = stream(channel)
        await call.write(ferops_pb2.Frame(image=b"%PDF"))
        assert (await call.read()).refusal.code == "not_an_image"
        service.refusal = Refusal("queue_full", "Try later.", retry_after_s=0.05)
        await call.write(ferops_pb2.Frame(image=png()))
        assert (await call.read()).refusal.retry_after_s == 0.05
        service.refusal = None
        await call.write(ferops_pb2.Frame(image=png()))
        assert (await call.read()).answer.frame == 3
        second = await ended(stream(channel))
        assert second == (status.RESOURCE_EXHAUSTED, "too_many_streams")
        call.cancel()
        async with asyncio.timeout(5):
            while service.streams._open:
                await asyncio.sleep(0.02)
        assert await ended(stream(channel, metadata=((FPS, "0"),))) == (status.INVALID_ARGUMENT, "bad_query")
        assert service.refused[-1] == "bad_query"

    run(service, play)


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
        assert (await refused(channel, image=png(), timeout=1.0))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
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
        assert await ended(predict_batch(channel, ("", png()))) == (status, "no_key")
        assert await ended(stream(channel)) == (status, "no_key")
        mine = (("authorization", f"Bearer {key}"),)
        await predict(channel, image=png(), metadata=mine)
        await predict_batch(channel, ("", png()), metadata=mine)
        call = stream(channel, iter([ferops_pb2.Frame(image=png())]), metadata=mine)
        assert (await call.read()).answer.frame == 1
        assert [upload.client for upload in service.seen] == ["key clinic"] * 2
        assert service.frames[0]["client"] == "key clinic"

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
