"""The gRPC interface beside the HTTP one, in its process: the same keys, limits, queue and worker (ferops.proto)."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ferops.inference.extras import Wanted
from service import ferops_pb2
from service.batch import FILES_PER_IMAGE
from service.grpc_messages import batch_message_of, message_of, reply_of
from service.guard import Upload, megapixels
from service.refusals import Refusal
from service.uploads import CLIENT, client_of, too_large

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from ferops.config import Serve
    from ferops.inference.answer import Answer, Info
    from ferops.inference.several import BatchAnswer
    from service.batch import Batch, Batches
    from service.keys import Keys
    from service.stream import Streams
    from service.uploads import Uploads

CERTIFICATE, KEY = "FEROPS_TLS_CERT", "FEROPS_TLS_KEY"
"""Environment variables: the PEM files of TLS; without them there is none."""

NAME = "ferops.v1.Expressions"

FPS = "ferops-fps"
"""The metadata of a stream that is a video: its frames a second, as `?fps=` of WS /stream."""

STATUS = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""HTTP status of a refusal -> status; of the others INVALID_ARGUMENT."""

log = logging.getLogger("bentoml.ferops")


class Grpc:
    """The server.

    Args:
        predict: gets the answer; raises Refusal alone.
        uploads: those of POST /predict: an image counts with them until it has come.
        batches, predict_batch, batch_uploads: of POST /predict/batch: a batch counts until it is answered.
        streams: those of WS /stream.
        is_ready: whether the worker is, for the health service.
    """

    def __init__(
        self,
        limits: Serve,
        *,
        keys: Keys | None,
        uploads: Uploads,
        predict: Callable[[Upload], Awaitable[Answer]],
        batches: Batches,
        batch_uploads: Uploads,
        predict_batch: Callable[[Batch], Awaitable[BatchAnswer]],
        streams: Streams,
        info: Callable[[], Info],
        is_ready: Callable[[], bool],
        on_refusal: Callable[[str], None],
    ) -> None:
        self._limits, self._keys, self._uploads = limits, keys, uploads
        self._batches, self._batch_uploads, self._predict_batch = batches, batch_uploads, predict_batch
        self._streams = streams
        self._predict, self._info, self._is_ready, self._on_refusal = predict, info, is_ready, on_refusal
        self._health = health.aio.HealthServicer()
        self._server: Any = None  # grpc is untyped
        self._watching: asyncio.Task[None] | None = None

    async def start(self, address: str) -> int:
        """Listen at `address`, such as 127.0.0.1:3001, and return the port. Raises RuntimeError: it is taken."""
        self._server = grpc.aio.server(  # here: it belongs to the loop that runs
            options=[
                ("grpc.so_reuseport", 0),  # a port that another program holds is an error
                ("grpc.max_receive_message_length", int(self._limits.max_body_mb * 1e6) + 1000),
                ("grpc.max_connection_idle_ms", 60_000),
                ("grpc.max_concurrent_streams", self._limits.max_uploads_per_client),
            ]
        )
        # A stream of requests to the server, though clients send one: so it is asked who is there before it is read
        handlers = {
            "Predict": grpc.stream_unary_rpc_method_handler(
                self._answer,
                request_deserializer=ferops_pb2.PredictRequest.FromString,
                response_serializer=ferops_pb2.Answer.SerializeToString,
            ),
            "PredictBatch": grpc.stream_unary_rpc_method_handler(
                self._answer_batch,
                request_deserializer=ferops_pb2.BatchRequest.FromString,
                response_serializer=ferops_pb2.BatchAnswer.SerializeToString,
            ),
            "Stream": grpc.stream_stream_rpc_method_handler(
                self._stream,
                request_deserializer=ferops_pb2.Frame.FromString,
                response_serializer=ferops_pb2.StreamReply.SerializeToString,
            ),
            "Info": grpc.unary_unary_rpc_method_handler(
                self._show_info,
                request_deserializer=empty_pb2.Empty.FromString,
                response_serializer=struct_pb2.Struct.SerializeToString,
            ),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        if certificate := os.environ.get(CERTIFICATE):
            pair = (Path(os.environ[KEY]).read_bytes(), Path(certificate).read_bytes())
            port: int = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            port = self._server.add_insecure_port(address)
        await self._server.start()
        self._watching = asyncio.get_running_loop().create_task(self._tell_health())
        return port

    async def stop(self) -> None:
        """End when what is under way is answered."""
        if self._watching is not None:
            self._watching.cancel()
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace=self._limits.timeout_s / 2)

    async def _answer(self, requests: Any, context: Any) -> Any:
        try:
            client = self._client(context)
            async with self._uploads.place(client):
                request = await self._read(requests)
            size = megapixels(request.image, at_most=self._limits.max_image_megapixels)
            wanted = Wanted(explain=request.explain, crops=request.crops, blur=request.blur)
        except Refusal as refusal:
            self._on_refusal(refusal.code)
            await _abort(context, refusal)
        try:
            answer = await self._predict(Upload(request.image, client, size, wanted))
        except Refusal as refusal:
            await _abort(context, refusal)
        return message_of(answer)

    async def _read(self, requests: Any) -> Any:
        try:
            async with asyncio.timeout(self._limits.upload_s):
                async for request in requests:
                    return request
        except TimeoutError:
            raise Refusal("slow_upload", f"The image did not come within {self._limits.upload_s:g} s.") from None
        raise Refusal("empty_file", "There was no request. Send a PredictRequest with an image.")

    async def _answer_batch(self, requests: Any, context: Any) -> Any:
        try:
            client = self._client(context)
            async with self._batch_uploads.place(client):
                batch = await self._batches.of(await self._read_all(requests), client)
                return batch_message_of(await self._predict_batch(batch))
        except Refusal as refusal:
            self._on_refusal(refusal.code)
            await _abort(context, refusal)

    async def _read_all(self, requests: Any) -> list[tuple[str, bytes]]:
        """Return name and content of each file of a batch. Raises Refusal: they are too many, too large, too slow."""
        files: list[tuple[str, bytes]] = []
        left = int(self._limits.max_batch_mb * 1e6)
        try:
            async with asyncio.timeout(self._batch_uploads.within_s):
                async for request in requests:
                    left -= len(request.image)
                    if left < 0:
                        raise too_large(int(self._limits.max_batch_mb * 1e6))
                    files.append((request.name, request.image))
                    if len(files) > FILES_PER_IMAGE * self._limits.max_batch_images:
                        raise Refusal("too_many_files", "The batch has far too many files. Send it in parts.")
        except TimeoutError:
            within_s = self._batch_uploads.within_s
            raise Refusal("slow_upload", f"The batch did not come within {within_s:g} s. Send it in parts.") from None
        return files

    async def _stream(self, requests: Any, context: Any) -> None:
        async def frames() -> AsyncGenerator[bytes, None]:
            async for request in requests:
                yield request.image

        try:
            client = self._client(context)
        except Refusal as refusal:
            self._on_refusal(refusal.code)
            await _abort(context, refusal)
        fps = dict(context.invocation_metadata()).get(FPS)
        try:
            await self._streams.run(client, frames(), lambda said: context.write(reply_of(said)), fps=fps)
        except Refusal as refusal:  # which `run` has counted
            await _abort(context, refusal)

    async def _show_info(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        return json_format.ParseDict(self._info().as_json(), struct_pb2.Struct())

    def _client(self, context: Any) -> str:
        """Return whose request it is, as `client_of` does. Raises Refusal: it brings no key, or a wrong one."""
        if self._keys is None:
            address = unquote(context.peer()).partition(":")[2].rpartition(":")[0].strip("[]")
            return client_of({"client": (address, 0)})
        scheme, _, key = dict(context.invocation_metadata()).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refusal("no_key", "This service needs an API key: metadata authorization: Bearer KEY.")
        name = self._keys.owner(key.strip())
        if name is None:
            raise Refusal("wrong_key", "The API key is wrong, or was revoked.")
        return client_of({CLIENT: f"key {name}"})

    async def _tell_health(self) -> None:
        while True:
            status = health_pb2.HealthCheckResponse
            now = status.SERVING if self._is_ready() else status.NOT_SERVING
            for name in ("", NAME):
                await self._health.set(name, now)
            await asyncio.sleep(0.5)


async def _abort(context: Any, refusal: Refusal) -> None:
    """End the call. The refusal's code, and the seconds until another try, are in the trailing metadata."""
    found = [("ferops-code", refusal.code)]
    if refusal.retry_after_s is not None:
        found.append(("retry-after", refusal.response().headers["retry-after"]))
    status = STATUS.get(refusal.status, grpc.StatusCode.INVALID_ARGUMENT)
    await context.abort(status, refusal.message, trailing_metadata=tuple(found))
