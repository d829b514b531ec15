"""A Bento behind Ray Serve, for those who have a Ray cluster: docs/kubernetes.md.

The Bento is the one on the Python path; its environment has `ray[serve]` besides the Bento's own requirements. Each
replica looks at one image at a time, like a pod of the chart, with the Bento's own limits, keys and refusals.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ray import serve
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import service

MAX_ONGOING = 8
"""Requests that a replica has at once; others wait at the proxy. One is looked at, the rest are read meanwhile."""

MAX_QUEUED = 128
"""Requests that wait at a proxy; those beyond get 503."""


def web() -> Starlette:
    """Return what a replica answers: POST /predict, GET /info and /readyz. Ray calls it once in each replica."""
    from ray.serve.metrics import Counter
    from service.keys import Door, keys_of
    from service.refusals import Refusal
    from service.shown import Shown
    from service.uploads import Uploads

    from ferops.datasets.images import UnreadableImageError
    from ferops.inference.predictor import Predictor
    from ferops.records.release import Release
    from service import guard, worker

    bento = Path(service.__file__).parents[1]
    release = Release.read(bento / "service" / "release.json", made_by="ferops package")
    limits = release.limits
    predictor = Predictor(bento / "model")  # with OMP_NUM_THREADS threads, which Ray sets to the replica's num_cpus
    keys = keys_of(limits.api_keys_file)
    if keys is not None:
        keys.require()
    shown = Shown(bento / "model", release, needs_key=keys is not None)
    images = Counter("ferops_images", description="Images answered", tag_keys=("status",))
    refused = Counter("ferops_refused", description="Uploads refused", tag_keys=("code",))
    one_at_a_time = ThreadPoolExecutor(1)

    async def predict(request: Request) -> Response:
        upload: guard.Upload = request.scope[guard.UPLOAD]
        loop = asyncio.get_running_loop()
        try:
            answer, _ = await loop.run_in_executor(
                one_at_a_time, worker.answered, predictor, release, upload.encoded, upload.wanted
            )
        except UnreadableImageError as error:
            count_refusal("damaged_image")
            return Refusal("damaged_image", f"The image cannot be decoded: {error}.").response()
        images.inc(tags={"status": answer.status})
        return JSONResponse(answer.as_json())

    async def info(_: Request) -> Response:
        return JSONResponse(shown.info.as_json())

    async def ready(_: Request) -> Response:
        return PlainTextResponse("")

    def count_refusal(code: str) -> None:
        refused.inc(tags={"code": code})

    uploads = Uploads(
        at_once=limits.max_uploads,
        at_once_per_client=limits.max_uploads_per_client,
        within_s=limits.upload_s,
        min_kb_s=limits.min_upload_kb_s,
    )
    return Starlette(
        routes=[Route("/predict", predict, methods=["POST"]), Route("/info", info), Route("/readyz", ready)],
        middleware=[
            Middleware(Door, keys=keys, on_refusal=count_refusal),
            Middleware(
                guard.Guard,
                path="/predict",
                max_body_mb=limits.max_body_mb,
                take=guard.one_image(max_megapixels=limits.max_image_megapixels),
                uploads=uploads,
                on_refusal=count_refusal,
            ),
        ],
    )


Faces = serve.deployment(
    name="Faces",
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=MAX_ONGOING,
    max_queued_requests=MAX_QUEUED,
    autoscaling_config={"min_replicas": 1, "max_replicas": 10, "target_ongoing_requests": 2},
)(serve.ingress(web)())
app = Faces.bind()
