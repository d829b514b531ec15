"""What runs in the worker, a process of its own: decoding and the model, in native code that a bad image may crash."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ferops.datasets.images import decode, has_further_frames
from ferops.faces.photo import Photo
from ferops.inference import answer as answers
from ferops.inference import extras
from ferops.inference.answer import Answer
from ferops.inference.extras import Wanted
from ferops.inference.measures import measures
from ferops.inference.predictor import Predictor
from ferops.inference.several import StreamAnswer, stream_answer
from ferops.records.release import Release
from ferops.threads import use
from ferops.video.frame import Frame

if TYPE_CHECKING:
    from ferops.video.watch import Watcher

_PR_SET_PDEATHSIG = 1

T = TypeVar("T")

_watchers: dict[int, Watcher] = {}
"""Of each stream that is open, by its number; the server bounds how many there are."""

_loaded: tuple[Predictor, Release] | None = None


def load(model: Path, release: Release, parent: int, *, threads: int, behind: bool = False) -> None:
    """Load the model, once per worker.

    Args:
        model: folder of the exported model.
        parent: process id of the server; its end, even by SIGKILL, ends the worker.
        threads: that it computes with.
        behind: work only where a processor has nothing else to do.
    """
    global _loaded  # noqa: PLW0603 # the process exists for this one value
    if behind:  # first: the threads that libraries start inherit it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    die_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the server ends its worker in order
        signal.signal(number, signal.SIG_IGN)
    use(threads)
    _loaded = (Predictor(model), release)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the process `parent`, which must have started it, ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os.kill(os.getpid(), signal.SIGKILL)


def predict(encoded: bytes, wanted: Wanted) -> tuple[Answer, list[dict[str, float]]]:
    """Return the answer for an encoded image, with the extras `wanted`, and what is logged of its faces (`measures`).

    Raises:
        UnreadableImageError: it cannot be decoded.
    """
    assert _loaded is not None  # `load` is the first call
    return answered(*_loaded, encoded, wanted)


def answered(
    predictor: Predictor, release: Release, encoded: bytes, wanted: Wanted
) -> tuple[Answer, list[dict[str, float]]]:
    """Return what `predict` does, for whoever has a Predictor of the Bento `release`; another server, for example."""
    start = time.perf_counter()
    photo = Photo.decode(encoded, max_megapixels=release.limits.max_image_megapixels)
    decoded = time.perf_counter()
    prediction, more = extras.predict(predictor, photo, wanted, max_faces=release.limits.max_faces)
    end = time.perf_counter()
    answer = answers.answer(
        prediction,
        release=release,
        extras=more,
        first_frame_only=has_further_frames(encoded),
        timing_ms={"decode": 1e3 * (decoded - start), "predict": 1e3 * (end - decoded)},
    )
    return answer, [measures(face) for face in prediction.faces]


def look(encoded: bytes, *, stream: int, first: int, time_s: float, frame: int, frames_dropped: int) -> StreamAnswer:
    """Return the answer for a frame of a stream.

    Args:
        stream: its number; faces are followed from its earlier frames on.
        first: the number of its next track, should this worker not know it: another one has crashed.
        time_s: seconds since the stream began.
        frame, frames_dropped: of the answer.

    Raises:
        UnreadableImageError: it cannot be decoded.
    """
    from ferops.video.watch import Watcher  # SciPy, 0.8 s and 50 MB, where there are streams

    assert _loaded is not None  # `load` is the first call
    predictor, release = _loaded
    start = time.perf_counter()
    pixels = decode(encoded, max_megapixels=release.limits.max_image_megapixels)
    if stream not in _watchers:
        _watchers[stream] = Watcher(predictor, first=first)
    seen = _watchers[stream].look(Frame(frame, time_s, pixels))
    assert seen.prediction is not None  # a frame with pixels has one
    return stream_answer(
        seen.prediction,
        [face.track for face in seen.faces],
        frame=frame,
        frames_dropped=frames_dropped,
        max_faces=release.limits.max_faces,
        timing_ms={"predict": 1e3 * (time.perf_counter() - start)},
    )


def forget(stream: int) -> None:
    """Drop what is known of a stream's faces."""
    _watchers.pop(stream, None)


def run(job: Callable[[], T]) -> T:
    """Do a job that the server has put together of the functions above."""
    return job()
