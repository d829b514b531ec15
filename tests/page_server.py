"""The web page with real answers, in this process: the Predictor without queue and worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from service.openapi import document
from service.prefix import Prefix
from service.query import wanted
from service.refusals import Refusal
from service.stream import Streams
from service.web import web
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from answers import release
from ferops.config import Serve
from ferops.datasets.images import decode, has_further_frames
from ferops.faces.photo import Photo
from ferops.inference import answer as answers
from ferops.inference import extras
from ferops.inference.extras import Wanted
from ferops.inference.predictor import Predictor
from ferops.inference.several import StreamAnswer
from service import worker
from sockets import free_port

ROOT_PATH = "/behind/a-proxy"


class PageServer:
    """The page lies below ROOT_PATH. `refusals` answer the next images; `bodies` are the images that came."""

    def __init__(self, model: Path, limits: Serve) -> None:
        self.refusals: list[Refusal | Response] = []
        self.bodies: list[bytes] = []
        self.keys: list[str] = []
        self.refused: list[str] = []
        self.frames = 0
        self.predictor = Predictor(model, threads=1)
        self.release = release(limits)
        self.streams = Streams(limits, on_refusal=self.refused.append)
        self.streams.look, self.streams.forget = self.look, self.forget
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{ROOT_PATH}/"

    async def predict(self, request: Request) -> Response:
        async with request.form() as form:
            upload = form["image"]
            assert not isinstance(upload, str)
            encoded = await upload.read()
        self.bodies.append(encoded)
        self.keys.append(request.headers.get("authorization", ""))
        if self.refusals:
            refusal = self.refusals.pop(0)
            return refusal.response() if isinstance(refusal, Refusal) else refusal
        asked = wanted(request.query_params)
        return JSONResponse((await run_in_threadpool(self.answer, encoded, asked)).as_json())

    def answer(self, encoded: bytes, asked: Wanted) -> answers.Answer:
        photo = Photo.of(decode(encoded))
        prediction, more = extras.predict(self.predictor, photo, asked, max_faces=self.release.limits.max_faces)
        return answers.answer(
            prediction,
            release=self.release,
            extras=more,
            first_frame_only=has_further_frames(encoded),
            timing_ms={"predict": 1.0},
        )

    async def look(self, job: Any, stream: int, client: str, megapixels: float) -> StreamAnswer:  # noqa: ARG002
        self.frames += 1
        answer: StreamAnswer = await run_in_threadpool(job)
        return answer

    async def forget(self, stream: int) -> None:
        worker.forget(stream)

    @contextmanager
    def running(self) -> Iterator[None]:
        info = answers.info(release=self.release, config=self.predictor.config)
        worker._loaded = (self.predictor, self.release)
        page = web(lambda: info, docs=lambda: document(self.release), stream=self.streams.serve)
        app = Starlette(routes=[Route("/predict", self.predict, methods=["POST"]), Mount("/", page)])
        server = uvicorn.Server(
            uvicorn.Config(Prefix(app, ROOT_PATH), port=self.port, log_level="critical", ws="websockets-sansio")
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.02)
            yield
        finally:
            server.should_exit = True
            thread.join(timeout=20)
