"""The BentoML service: POST /predict, GET /info, the web page at /, and BentoML's /readyz, /livez and /metrics.

It runs inside a Bento that `ferops package` built: the model lies in ../model and release.json names the version.
Requests are answered one at a time by one thread, since detector and classifier use all cores themselves; others
wait. Faces of several requests are not batched: detection takes nine tenths of an answer's time, images differ in size,
and the classifier's share is too small to wait for (benchmarks/serve.py measures both).
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import bentoml
from pydantic import Field
from starlette.responses import Response

from ferops.datasets.images import UnreadableImageError, decode
from ferops.inference import answer as answers
from ferops.inference.answer import Answer
from ferops.inference.predictor import Predictor
from ferops.model_config import ExportConfig, read_model_config
from ferops.records.release import Release
from service.guard import UPLOAD, Guard, Refusal
from service.web import web

if TYPE_CHECKING:
    from starlette.requests import Request

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "model"
# Waiting requests hold their upload, at most max_body_mb each
MAX_WAITING = 32

RELEASE = Release.read(HERE / "release.json", made_by="ferops package (this folder is the source, not a Bento)")
LIMITS = RELEASE.limits
INFO = answers.info(release=RELEASE, config=read_model_config(MODEL, ExportConfig))


class Upload(bentoml.IODescriptor):  # type: ignore[misc] # bentoml is untyped
    """The form of POST /predict. The guard has read it already; the schema is for clients and the OpenAPI page."""

    image: Annotated[Path, bentoml.validators.ContentType("image/*")] = Field(
        description="a photograph: JPEG, PNG, WebP, BMP, TIFF or GIF"
    )

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Upload:  # noqa: ARG003
        form: Upload = cls.model_construct(image=request.scope[UPLOAD])  # bytes: nothing is written to a file
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


@bentoml.service(
    name=RELEASE.bento_name, traffic={"timeout": LIMITS.timeout_s, "max_concurrency": MAX_WAITING}, threads=1
)
@bentoml.asgi_app(web(INFO), path="/", name="web")
class Ferops:
    """Labels the visible expression of every face in an image. The label is not what the person feels."""

    def __init__(self) -> None:
        counters()
        self.predictor = Predictor(MODEL)

    @bentoml.api(  # type: ignore[untyped-decorator]
        route="/predict", input_spec=Upload, output_spec=Answer
    )
    def predict(self, image: bytes) -> Answer | Response:
        """Faces of an image with their expression labels; `image` is the encoded file as uploaded."""
        start = time.perf_counter()
        try:
            pixels = decode(image, max_megapixels=LIMITS.max_image_megapixels)
        except UnreadableImageError as error:
            counters().refused.labels("damaged_image").inc()
            return Refusal(422, "damaged_image", f"The image cannot be decoded: {error}.").response()
        decoded = time.perf_counter()
        prediction = self.predictor.predict([pixels], max_faces=LIMITS.max_faces)[0]
        end = time.perf_counter()
        result = answers.answer(
            prediction,
            classes=self.predictor.config.classes,
            release=RELEASE,
            width=pixels.shape[1],
            height=pixels.shape[0],
            timing_ms={"decode": 1e3 * (decoded - start), "predict": 1e3 * (end - decoded)},
        )
        counters().count(result)
        return result


Ferops.add_asgi_middleware(  # type: ignore[attr-defined]
    Guard,
    path="/predict",
    max_body_mb=LIMITS.max_body_mb,
    max_megapixels=LIMITS.max_image_megapixels,
    on_refusal=lambda code: counters().refused.labels(code).inc(),
)
