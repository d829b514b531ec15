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
from service.guard import Upload, megapixels
from service.refusals import Refusal
from service.uploads import CLIENT, client_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ferops.config import Serve
    from ferops.inference.answer import Answer, Info
    from service.keys import Keys
    from service.uploads import Uploads

CERTIFICATE, KEY = "FEROPS_TLS_CERT", "FEROPS_TLS_KEY"
"""Environment variables: the PEM files of TLS; without them there is none."""

NAME = "ferops.v1.Expressions"

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
        is_ready: whether the worker is, for the health service.
    """

    def __init__(
        self,
        limits: Serve,
        *,
        keys: Keys | None,
        uploads: Uploads,
        predict: Callable[[Upload], Awaitable[Answer]],
        info: Callable[[], Info],
        is_ready: Callable[[], bool],
        on_refusal: Callable[[str], None],
    ) -> None:
        self._limits, self._keys, self._uploads = limits, keys, uploads
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


def message_of(answer: Answer) -> Any:
    """Return the answer as a message; a field that ferops.proto lacks is an error."""
    found = answer.as_json()
    for face in found["faces"]:
        face["landmarks"] = {name: {"x": x, "y": y} for name, (x, y) in face["landmarks"].items()}
    for heat in found["extras"]["heat"]:
        heat["cells"] = [{"values": row} for row in heat["cells"]]
    return json_format.ParseDict(found, ferops_pb2.Answer())
