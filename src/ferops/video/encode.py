"""Frames with their faces drawn in, as a video file that browsers and phones play."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from ferops.errors import FeropsError
from ferops.faces.detection import Image
from ferops.files import atomic_file, disk_errors
from ferops.inference.drawing import Mark, blur, draw
from ferops.video.watch import Seen

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import OutputContainer

SUFFIXES = (".mp4", ".mkv", ".mov")
"""Kinds of files that are written."""
_TICKS = 90_000  # time stamps in a second, as usual
_CODECS = ("libx264", "mpeg4")
_OPTIONS: dict[str, dict[str, object]] = {"libx264": {"preset": "veryfast", "crf": "23"}, "mpeg4": {"q": "4"}}


class VideoWriter:
    """A context manager; the file appears, whole, when it ends without an error.

    Frames keep their times, also where they are irregular. All have the size of the first, less a last odd row or
    column, which H.264 cannot hold. Sound is not copied.

    Args:
        target: ends with one of SUFFIXES.
        faces_blurred: nobody can be recognised: neither the faces that were found, nor where one was a moment ago.
        marks: draw box, number and expression of each face.

    Attributes:
        codec: `libx264` (H.264), or `mpeg4` where FFmpeg was built without it, which few browsers play.
    """

    def __init__(self, target: Path, *, fps: float, faces_blurred: bool, marks: bool = True) -> None:
        """Raises FeropsError: `target` ends otherwise."""
        from av import codecs_available

        if target.suffix.lower() not in SUFFIXES:
            raise FeropsError(f"{target} is no kind of video that is written. Name a file {', '.join(SUFFIXES)}")
        self._target, self._fps, self._blur, self._marks = target, fps, faces_blurred, marks
        self.codec = next(name for name in _CODECS if name in codecs_available)
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._last = -1

    def __enter__(self) -> VideoWriter:
        import av

        with ExitStack() as stack:
            stack.enter_context(disk_errors(self._target))
            temporary = stack.enter_context(atomic_file(self._target))
            kind = self._target.suffix[1:].lower().replace("mkv", "matroska")
            options = {} if kind == "matroska" else {"movflags": "+faststart"}
            self._container = stack.enter_context(av.open(str(temporary), "w", format=kind, options=options))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def write(self, seen: Seen) -> None:
        """Add a frame; damaged ones are left out."""
        if seen.frame.pixels is not None:
            self._encode(drawn(seen, faces_blurred=self._blur, marks=self._marks), seen.frame.time_s)

    def _encode(self, pixels: Image, time_s: float) -> None:
        from av import VideoFrame

        assert self._container is not None
        if self._stream is None:
            self._stream = self._begin(self._container, *(side - side % 2 for side in pixels.shape[:2]))
        height, width = self._stream.height, self._stream.width
        if pixels.shape[0] // 2 * 2 != height or pixels.shape[1] // 2 * 2 != width:  # a stream may change its size
            pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        frame.time_base = Fraction(1, _TICKS)
        frame.pts = self._last = max(round(time_s * _TICKS), self._last + 1)
        self._container.mux(self._stream.encode(frame))

    def _begin(self, container: OutputContainer, height: int, width: int) -> VideoStream:
        rate = Fraction(self._fps).limit_denominator(1001)
        stream = cast("VideoStream", container.add_stream(self.codec, rate=rate))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.options = _OPTIONS[self.codec]
        stream.codec_context.time_base = Fraction(1, _TICKS)
        return stream


def drawn(seen: Seen, *, faces_blurred: bool, marks: bool = True) -> Image:
    """Return the frame's pixels with, for `marks`, each face's box, number and expression drawn in."""
    assert seen.frame.pixels is not None
    pixels = seen.frame.pixels
    if faces_blurred:
        pixels = blur(pixels, [*(each.face.box for each in seen.faces), *seen.lost])
    if not marks:
        return pixels
    found = [
        Mark(
            each.face.box,
            f"{f'{each.track} ' if each.track else ''}{each.face.label} {each.face.confidence:.0%}",
            each.face.status == "ok",
        )
        for each in seen.faces
    ]
    return np.asarray(draw(pixels, found))
