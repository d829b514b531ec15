"""The BentoML service: POST /predict, GET /info, the web page at /, and BentoML's /readyz, /livez and /metrics.

It runs inside a Bento that `ferops package` built: the model lies in ../model and release.json names the version.
Requests are answered one at a time by one worker process, since detector and classifier use all cores themselves;
others wait in a fair queue. This process only reads uploads and sends answers, so that it always has time.
Faces of several requests are not batched: detection takes nine tenths of an answer's time, images differ in size,
and the classifier's share is too small to wait for (benchmarks/serve.py measures both).
"""

from __future__ import annotations

import logging
import os
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import bentoml
from bentoml._internal.context import server_context
from pydantic import Field
from starlette.responses import Response

from ferops.datasets.images import UnreadableImageError
from ferops.inference import answer as answers
from ferops.inference.answer import Answer
from ferops.model_config import ExportConfig, read_model_config
from ferops.records.release import Release
from service import guard, logs, worker
from service.engine import Engine
from service.guard import Guard
from service.known import Known
from service.openapi import described
from service.refusals import Refusal
from service.uploads import Uploads
from service.waiting import Queue
from service.web import web

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "model"

RELEASE = Release.read(HERE / "release.json", made_by="ferops package (this folder is the source, not a Bento)")
LIMITS = RELEASE.limits
INFO = answers.info(release=RELEASE, config=read_model_config(MODEL, ExportConfig))

log = logging.getLogger("bentoml.ferops")
logs.protect()
# uvicorn reads it, under `bentoml serve` as well; its own default believes every process on this machine
os.environ.setdefault("FORWARDED_ALLOW_IPS", ",".join(LIMITS.trusted_proxies))


class Form(bentoml.IODescriptor):  # type: ignore[misc] # bentoml is untyped
    """The form of POST /predict. The guard has read it already; the schema is for clients and the OpenAPI page."""

    image: Annotated[Path, bentoml.validators.ContentType("image/*")] = Field(
        description="a photograph: JPEG, PNG, WebP, BMP, TIFF or GIF"
    )

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Form:  # noqa: ARG003
        form: Form = cls.model_construct(image=request.scope[guard.UPLOAD])  # nothing is written to a file
        return form


class Counters:
    """What Prometheus may know: numbers, never images."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram  # after BentoML has chosen its multi-process folder

        self.images = Counter("ferops_images", "Images answered", ["status"])
        self.faces = Histogram("ferops_faces_per_image", "Faces found in an image", buckets=(0, 1, 2, 3, 5, 10, 20))
        self.labels = Counter("ferops_labels", "Faces by predicted expression", ["label", "status"])
        self.refused = Counter("ferops_refused", "Uploads refused", ["code"])
        self.confidence = Histogram(
            "ferops_confidence", "Calibrated confidence of faces", buckets=[step / 10 for step in range(1, 11)]
        )

    def count(self, result: Answer) -> None:
        self.images.labels(result.status).inc()
        self.faces.observe(len(result.faces))
        for face in result.faces:
            self.labels.labels(face.label, face.status).inc()
            self.confidence.observe(face.confidence)


@cache
def counters() -> Counters:
    return Counters()


class Service(bentoml.Service):  # type: ignore[misc]
    """A BentoML service whose OpenAPI page is complete, and whose counters clients cannot fill."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        if server_context.worker_index:  # started by BentoML's supervisor: the port must be free when that is killed
            worker.die_with(os.getppid())
        app = super().to_asgi(is_main=is_main)
        mounted = [route for inner, _, _ in self.mount_apps for route in inner.routes]
        return Known(app, [*app.routes, *mounted])

    @property
    def openapi_spec(self) -> Any:
        return described(super().openapi_spec)


# BentoML's limits stand before the guard, without a code, and would refuse the page and /info, too: it gets none that
# ours do not reach first
@bentoml.service(
    name=RELEASE.bento_name,
    service_class=Service,
    traffic={"timeout": LIMITS.upload_s + LIMITS.timeout_s + 10, "max_concurrency": None},
)
@bentoml.asgi_app(web(INFO), path="/", name="web")
class Ferops:
    """Labels the visible expression of every face in an image. The label is not what the person feels."""

    def __init__(self) -> None:
        counters()
        self._engine = Engine(
            partial(worker.load, MODEL, RELEASE, os.getpid()), worker.predict, limit_s=LIMITS.timeout_s
        )
        self._queue = Queue(
            self._engine.run,
            max_waiting=LIMITS.max_waiting,
            max_wait_s=LIMITS.max_wait_s,
            max_wait_s_per_client=LIMITS.max_wait_s_per_client,
            timeout_s=LIMITS.timeout_s,
        )

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        await self._engine.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        self._engine.stop()

    async def __is_ready__(self) -> bool:
        return self._engine.is_ready

    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/predict", input_spec=Form, output_spec=Answer
    )
    async def predict(self, image: guard.Upload) -> Answer | Response:
        """Faces of an image with their expression labels."""
        try:
            result = await self._queue.answer(image.encoded, client=image.client, megapixels=image.megapixels)
        except Refusal as refusal:
            return _refused(refusal)
        except UnreadableImageError as error:
            return _refused(Refusal("damaged_image", f"The image cannot be decoded: {error}."))
        except Exception:
            log.exception("an image could not be answered")
            return _refused(Refusal("failed", "The image could not be answered; the service's log says why."))
        counters().count(result)
        return result


def _refused(refusal: Refusal) -> Response:
    counters().refused.labels(refusal.code).inc()
    return refusal.response()


Ferops.add_asgi_middleware(  # type: ignore[attr-defined]
    Guard,
    path="/predict",
    max_body_mb=LIMITS.max_body_mb,
    max_megapixels=LIMITS.max_image_megapixels,
    uploads=Uploads(
        at_once=LIMITS.max_uploads,
        at_once_per_client=LIMITS.max_uploads_per_client,
        within_s=LIMITS.upload_s,
        min_kb_s=LIMITS.min_upload_kb_s,
    ),
    on_refusal=lambda code: counters().refused.labels(code).inc(),
)
