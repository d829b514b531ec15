"""What the worker does for a stream: faces are followed and smoothed from frame to frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from answers import release
from ferops.config import Params
from ferops.inference.predictor import Predictor
from rendered import portraits
from sample_images import encoded
from service import worker


@pytest.fixture
def _loaded(make_export: Any, quick_params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = release(quick_params.serve.model_copy(update={"max_faces": 2}))
    monkeypatch.setattr(worker, "_loaded", (Predictor(make_export(favours="happy"), threads=1), limited))


def frame(x: int) -> bytes:
    """One face at `x` and two that stand still; JPEG of 600x200 pixels."""
    pixels = np.full((200, 600, 3), 90, np.uint8)
    for portrait, left, side in (
        (portraits()[0][0], x, 130),
        (portraits()[3][0], 250, 120),
        (portraits()[5][0], 440, 120),
    ):
        pixels[40 : 40 + side, left : left + side] = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    return encoded(pixels, kind="JPEG")


@pytest.mark.usefixtures("_loaded")
def test_a_stream_follows_its_faces_until_it_is_forgotten() -> None:
    first = look(stream=7, first=1, number=1, x=20)
    second = look(stream=7, first=1, number=2, x=26)
    assert (first.faces_found, second.faces_found) == (3, 3)
    assert [face.track for face in first.faces] == [face.track for face in second.faces] == [1, 2]  # max_faces
    for before, after in zip(first.faces, second.faces, strict=True):
        moved = after.box.x1 - before.box.x1
        assert 2 < moved < 10 if before.box.x1 < 200 else abs(moved) < 3
    assert (second.frame, second.frames_dropped, second.width, second.height) == (2, 3, 600, 200)
    assert sum(second.faces[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    other = look(stream=8, first=5, number=1, x=20)  # as after a crash: its numbers go on
    assert other.faces[0].track == 5
    for stream in (7, 8, 9):
        worker.forget(stream)
    assert not worker._watchers


def look(*, stream: int, first: int, number: int, x: int) -> Any:
    return worker.look(frame(x), stream=stream, first=first, time_s=number / 15, frame=number, frames_dropped=3)


def test_a_job_is_done() -> None:
    assert worker.run(lambda: 3) == 3
