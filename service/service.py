"""The BentoML service: POST /predict and /predict/batch, WS /stream, GET /info, the page at /; BentoML's probes.

It runs inside a Bento that `ferops package` built: the model lies in ../model and release.json names the version.
Images are answered by worker processes, each one image at a time (`service.workers`); others wait in a fair queue. This
process only reads uploads and sends answers, so that it always has time.
Faces of several requests are not batched: detection takes nine tenths of an answer's time, images differ in size,
and the classifier's share is too small to wait for (benchmarks/serve.py measures both).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import bentoml
from bentoml._internal.context import server_context
from pydantic import Field
from starlette.responses import Response

from ferops.datasets.images import UnreadableImageError
from ferops.inference.answer import Answer
from ferops.inference.extras import NONE, Wanted
from ferops.inference.several import BatchAnswer, StreamAnswer
from ferops.monitoring.recorder import Recorder, recorder
from ferops.records.release import Release
from ferops.rollout.shadow import pair_log
from service import batch, follow, guard, logs, worker
from service.batch import Batches
from service.beside import Companions
from service.canary import CHAMPION
from service.counters import count_refusal, counters
from service.engine import Engine
from service.guard import Guard
from service.keys import Door, keys_of
from service.known import Known
from service.openapi import document
from service.query import EXPLAIN_MEGAPIXELS
from service.refusals import Refusal
from service.shadow import Shadow
from service.shown import Shown
from service.stream import Streams
from service.uploads import Uploads
from service.waiting import Queue
from service.warm import Warm
from service.web import web
from service.workers import Workers, share

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from service.grpc_server import Grpc

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "model"

RELEASE = Release.read(HERE / "release.json", made_by="ferops package (this folder is the source, not a Bento)")
LIMITS = RELEASE.limits
BATCHES = Batches(LIMITS)
BATCH_UPLOAD_S = LIMITS.upload_s * max(1.0, LIMITS.max_batch_mb / LIMITS.max_body_mb)
KEYS = keys_of(LIMITS.api_keys_file)
WORKERS, THREADS = share(LIMITS.workers)
SHOWN = Shown(MODEL, RELEASE, needs_key=KEYS is not None)

SHADOW_WITHIN_S = 120.0
"""For an image: a shadow works where nobody else does, so it may take long."""

GRPC_ADDRESS = "FEROPS_GRPC"
"""The environment variable that holds where gRPC listens, as in 127.0.0.1:3001; without it, nowhere."""

log = logging.getLogger("bentoml.ferops")
logs.protect()
# uvicorn reads it, under `bentoml serve` as well; its own default believes every process on this machine
os.environ.setdefault("FORWARDED_ALLOW_IPS", ",".join(LIMITS.trusted_proxies))


class Form(bentoml.IODescriptor):  # type: ignore[misc] # bentoml is untyped
    """The form of POST /predict. The guard has read it already; the schema is for clients and the OpenAPI page."""

    image: Annotated[Path, bentoml.validators.ContentType("image/*")] = Field(
        description="a photograph: JPEG, PNG, WebP, BMP, TIFF, GIF or AVIF, and HEIC where `pillow-heif` is installed"
    )

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Form:  # noqa: ARG003
        form: Form = cls.model_construct(image=request.scope[guard.UPLOAD])  # nothing is written to a file
        return form


class BatchForm(bentoml.IODescriptor):  # type: ignore[misc] # bentoml is untyped
    """The form of POST /predict/batch, as `Form`."""

    image: list[Annotated[Path, bentoml.validators.ContentType("image/*")]] = Field(
        description="photographs, or zips of them; the field may stand in the form many times"
    )

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> BatchForm:  # noqa: ARG003
        form: BatchForm = cls.model_construct(image=request.scope[guard.UPLOAD])
        return form


STREAMS = Streams(LIMITS, on_refusal=count_refusal)


Job: TypeAlias = "Callable[[], Awaitable[Any]]"
"""What the queue does: it asks a worker, and which one is decided when it is the image's turn."""


class Service(bentoml.Service):  # type: ignore[misc]
    """A BentoML service whose counters clients cannot fill."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        if server_context.worker_index:  # started by BentoML's supervisor: the port must be free when that is killed
            worker.die_with(os.getppid())
        app = super().to_asgi(is_main=is_main)
        mounted = [route for inner, _, _ in self.mount_apps for route in inner.routes]
        return Known(app, [*app.routes, *mounted])


# BentoML's limits stand before the guard, without a code, and would refuse the page and /info, too: it gets none that
# ours do not reach first
@bentoml.service(
    name=RELEASE.bento_name,
    service_class=Service,
    traffic={
        "timeout": max(LIMITS.upload_s + LIMITS.timeout_s, BATCH_UPLOAD_S + batch.WITHIN_S) + LIMITS.timeout_s,
        "max_concurrency": None,
    },
)
@bentoml.asgi_app(
    web(lambda: SHOWN.info, docs=lambda: document(SHOWN.release), stream=STREAMS.serve), path="/", name="web"
)
class Ferops:
    """Labels the visible expression of every face in an image. The label is not what the person feels."""

    def __init__(self) -> None:
        counters()
        self._workers = workers(MODEL, RELEASE)
        self._warm = Warm()
        self._following: list[asyncio.Task[None]] = []
        self._companions: Companions | None = None
        self._grpc: Grpc | None = None
        self._recorder: Recorder | None = None
        STREAMS.look, STREAMS.forget = self._look, self._forget
        self._queue = Queue(
            _call,
            at_once=WORKERS,
            max_waiting=LIMITS.max_waiting,
            max_wait_s=LIMITS.max_wait_s,
            max_wait_s_per_client=LIMITS.max_wait_s_per_client,
            timeout_s=LIMITS.timeout_s,
        )

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        if KEYS is not None:  # only here: the file is not there while the Bento is built
            KEYS.require()
        self._recorder = recorder(LIMITS)
        await self._workers.start()
        if address := os.environ.get(GRPC_ADDRESS):
            await self._start_grpc(address)
        if (pointer := follow.pointer()) is not None:
            follower = follow.Follower(pointer, source=HERE.parent, tag=RELEASE.tag, swap=self._swap)
            self._companions = Companions(
                pointer.parent,
                code=follower.code,
                champion=lambda: follower.tag,
                start=start_beside,
                shadow=Shadow(idle=self._queue.idle, pairs=pair_log(LIMITS)),
                key=follow.key(),
            )
            # Apart: the champion must not wait for a shadow to load
            self._following = [asyncio.create_task(each.run()) for each in (follower, self._companions)]

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        if self._companions is not None:
            self._companions.stop()
        if self._grpc is not None:
            await self._grpc.stop()
        self._warm.drop()
        self._workers.stop()
        if self._recorder is not None:
            self._recorder.close()

    async def _start_grpc(self, address: str) -> None:
        from service.grpc_server import Grpc  # 20 MB, where it is asked for

        self._grpc = Grpc(
            LIMITS,
            keys=KEYS,
            uploads=UPLOADS,
            predict=partial(self._answer_upload, path="gRPC"),
            batches=BATCHES,
            batch_uploads=BATCH_UPLOADS,
            predict_batch=partial(BATCHES.answer, predict=partial(self._answer, path="gRPC batch")),
            streams=STREAMS,
            info=lambda: SHOWN.info,
            is_ready=lambda: self._workers.is_ready,
            on_refusal=count_refusal,
        )
        await self._grpc.start(address)

    async def _answer_upload(self, upload: guard.Upload, *, path: str = "/predict") -> Answer:
        return await self._answer(upload.encoded, upload.client, upload.megapixels, upload.wanted, path=path)

    async def _swap(self, model: Path, release: Release) -> None:
        """Serve another model from now on. Images that the former one works on are answered by it."""
        release = release.model_copy(update={"limits": LIMITS})  # those of the server, which stays
        former = SHOWN.release
        following = self._warm.take(release) or await started(workers(model, release))
        try:
            SHOWN.show(model, release)
        except BaseException:
            following.stop()
            raise
        self._warm.keep(former, self._workers)
        self._workers = following
        if self._companions is not None and self._companions.canary is not None:
            self._companions.canary.begin_anew()

    async def _by_champion(self, job: Callable[[], Any], stream: int) -> Any:
        return await self._workers.run(job, stream=stream)

    async def _by_role(self, job: Callable[[], Any], client: str, megapixels: float) -> tuple[Answer, Any, str]:
        canary = self._companions.canary if self._companions is not None else None
        if canary is None:
            return *await self._workers.run(job), CHAMPION
        return await canary.run(job, client=client, megapixels=megapixels, champion=self._workers)

    async def __is_ready__(self) -> bool:
        return self._workers.is_ready

    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/predict", input_spec=Form, output_spec=Answer
    )
    async def predict(self, image: guard.Upload) -> Answer | Response:
        """Faces of an image with their expression labels."""
        try:
            return await self._answer_upload(image)
        except Refusal as refusal:
            return refusal.response()

    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/predict/batch", input_spec=BatchForm, output_spec=BatchAnswer
    )
    async def predict_batch(self, image: batch.Batch) -> BatchAnswer:
        """Faces of several images, which may lie in a zip; an image without an answer has a code and a reason."""
        return await BATCHES.answer(image, partial(self._answer, path="/predict/batch"))

    async def _answer(
        self, encoded: bytes, client: str, megapixels: float, wanted: Wanted = NONE, *, path: str = "/predict"
    ) -> Answer:
        """Return the answer for an image, and count and log it. Raises Refusal, whatever goes wrong."""
        result: Answer
        start = time.perf_counter()
        try:
            megapixels += EXPLAIN_MEGAPIXELS * wanted.explain
            job = partial(worker.predict, encoded, wanted)
            result, measured, role = await self._done(
                partial(self._by_role, job, client, megapixels), client, megapixels
            )
        except Refusal as refusal:
            count_refusal(refusal.code)
            raise
        counters().count(result, role=role)
        latency_ms = 1e3 * (time.perf_counter() - start)
        if self._recorder is not None:
            self._recorder.note(
                result, measured, path=path, latency_ms=latency_ms, encoded=encoded, client=client, role=role
            )
        if self._companions is not None and role == CHAMPION:
            came = datetime.now(UTC) - timedelta(milliseconds=latency_ms)
            self._companions.shadow.offer(encoded, result, path=path, time=came)
        return result

    async def _look(self, job: Callable[[], StreamAnswer], stream: int, client: str, megapixels: float) -> StreamAnswer:
        answer: StreamAnswer = await self._done(partial(self._by_champion, job, stream), client, megapixels)
        counters().frames.labels(answer.status).inc()
        return answer

    async def _forget(self, stream: int) -> None:
        with suppress(Refusal):  # a worker that is gone has forgotten
            await self._workers.run(partial(worker.forget, stream), stream=stream)

    async def _done(self, job: Job, client: str, megapixels: float) -> Any:
        try:
            return await self._queue.answer(job, client=client, megapixels=megapixels)
        except UnreadableImageError as error:
            raise Refusal("damaged_image", f"The image cannot be decoded: {error}.") from error
        except Refusal:
            raise
        except Exception as error:
            log.exception("an image could not be answered")
            raise Refusal("failed", "The image could not be answered; the service's log says why.") from error


def workers(
    model: Path, release: Release, *, count: int = WORKERS, limit_s: float = LIMITS.timeout_s, behind: bool = False
) -> Workers[Callable[[], Any], Any]:
    load = partial(worker.load, model, release, os.getpid(), threads=THREADS, behind=behind)
    return Workers(lambda: Engine(load, worker.run, limit_s=limit_s), count=count)


async def start_beside(role: str, model: Path, release: Release) -> Workers[Callable[[], Any], Any]:
    """Return the workers of a shadow or canary, started."""
    release = release.model_copy(update={"limits": LIMITS})
    if role == "shadow":
        return await started(workers(model, release, count=1, limit_s=SHADOW_WITHIN_S, behind=True))
    # The champion answers what it does not, within the same time
    return await started(workers(model, release, limit_s=LIMITS.timeout_s / 2))


async def started(new: Workers[Callable[[], Any], Any]) -> Workers[Callable[[], Any], Any]:
    await new.start()
    return new


async def _call(job: Job) -> Any:
    return await job()


def uploads(*, at_once: int, per_client: int, within_s: float) -> Uploads:
    return Uploads(at_once=at_once, at_once_per_client=per_client, within_s=within_s, min_kb_s=LIMITS.min_upload_kb_s)


UPLOADS = uploads(at_once=LIMITS.max_uploads, per_client=LIMITS.max_uploads_per_client, within_s=LIMITS.upload_s)
BATCH_UPLOADS = uploads(at_once=batch.AT_ONCE, per_client=batch.AT_ONCE_PER_CLIENT, within_s=BATCH_UPLOAD_S)
Ferops.add_asgi_middleware(Door, keys=KEYS, on_refusal=count_refusal)  # type: ignore[attr-defined]
Ferops.add_asgi_middleware(  # type: ignore[attr-defined]
    Guard,
    path="/predict",
    max_body_mb=LIMITS.max_body_mb,
    take=guard.one_image(max_megapixels=LIMITS.max_image_megapixels),
    uploads=UPLOADS,
    on_refusal=count_refusal,
)
Ferops.add_asgi_middleware(  # type: ignore[attr-defined]
    Guard,
    path="/predict/batch",
    max_body_mb=LIMITS.max_batch_mb,
    take=BATCHES.take,
    uploads=BATCH_UPLOADS,
    on_refusal=count_refusal,
    form=batch.CURL,
    max_files=batch.FILES_PER_IMAGE * LIMITS.max_batch_images,
    until_answered=True,
)
