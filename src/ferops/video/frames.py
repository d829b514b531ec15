"""Frames of a video in order, one at a time, whatever their number: memory stays flat.

PyAV reads them, not OpenCV, which ends a damaged file without a word, has no encoder for H.264 and gives no reasons.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from heapq import heappop, heappush
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from ferops.errors import FeropsError
from ferops.faces.detection import Image
from ferops.video.frame import Frame
from ferops.video.source import Source, is_live, open_container, shown

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer

_NOTHING = "damaged frame: nothing of it could be decoded"
_ONE_FRAME_A_PACKET = ("h264", "hevc", "mjpeg")  # VP8, for one, has packets without a frame

USUAL_FPS = 30.0
"""Taken for a video that does not say its own."""


class Video:
    """An open video; iterate over it, once, for its frames. A context manager.

    Args:
        source: a file, by its path or name, `camera:N`, or an rtsp or http(s) address.
        max_fps: frames a second to keep at most; the others are dropped by their times. None keeps all.
        after: number and time of a frame: only later ones are read, from the nearest key frame before (files only).

    Attributes:
        live: a camera or a stream without an end: only the newest frame is kept for a reader that is late.
        fps: frames a second on average, as the container says or USUAL_FPS.
        seconds: length, or None.

    Raises:
        FeropsError: the source cannot be opened, or has no video.
    """

    def __init__(self, source: Source, *, max_fps: float | None = None, after: tuple[int, float] | None = None) -> None:
        self.name = shown(source)
        self._container: InputContainer = open_container(source)
        if not (streams := [each for each in self._container.streams.video if not _is_cover(each)]):
            found = _contents(self._container)
            self._container.close()
            raise FeropsError(f"{self.name} has no video in it, only: {found}")
        self._stream = streams[0]
        self.live = is_live(source, self._container)
        # Threads by frame decode ahead while this one searches for faces; live, they would only add a delay
        self._stream.thread_type = "SLICE" if self.live else "AUTO"
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or USUAL_FPS)
        length = self._container.duration
        self.seconds = length / 1e6 if length else None  # FFmpeg counts microseconds
        self._max_fps, self._after = max_fps, after
        self._reader = newest(self._frames()) if self.live else self._frames()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._reader.close()  # before the container, from which a thread may be reading
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        return self._reader

    def _frames(self) -> Generator[Frame]:
        clock = _Clock(self._stream, fps=self.fps)
        number, after_s = -1, -1.0
        if self._after is not None and not self.live:
            number, after_s = self._after
            clock.seek(self._container, after_s)
        slot = -1
        for decoded, reason, pts in _decoded(self._container, self._stream):
            time_s = clock.time_s(decoded.pts if decoded is not None else pts)
            if time_s <= after_s:
                continue
            number += 1
            if self._max_fps is not None:
                before, slot = slot, int(time_s * self._max_fps + 1e-6)
                if slot == before:
                    continue
            pixels = _upright(decoded, self._stream.sample_aspect_ratio) if decoded is not None else None
            yield Frame(number, time_s, pixels, reason)


class _Clock:
    """Seconds from the stream's time stamps, which may be missing, start anywhere, or fall back."""

    def __init__(self, stream: Any, *, fps: float) -> None:
        self._base, self._step_s = float(stream.time_base), 1 / fps
        self._start: int | None = stream.start_time
        self._last_s: float | None = None

    def seek(self, container: InputContainer, time_s: float) -> None:
        """Go to the key frame before that time."""
        container.seek(int((time_s + (self._start or 0) * self._base) * 1e6))

    def time_s(self, pts: int | None) -> float:
        if pts is None:
            now = 0.0 if self._last_s is None else self._last_s + self._step_s
        else:
            self._start = pts if self._start is None else self._start
            now = (pts - self._start) * self._base
        self._last_s = max(now, self._last_s or 0.0)
        return self._last_s


def _decoded(container: InputContainer, stream: Any) -> Iterator[tuple[VideoFrame | None, str | None, int | None]]:
    """Yield each frame, in the order of their times; or None, the reason, and the time stamp of a damaged one.

    Decoders say that something is damaged, but rarely which frame: it is the one that does not come out.
    """
    import av

    waiting: list[int] = []  # time stamps of packets whose frame has not come out
    damage = _NOTHING if stream.codec_context.name in _ONE_FRAME_A_PACKET else ""
    for packet, end in _packets(container, stream):
        if packet is None:
            yield None, end, None
            break
        if packet.size and packet.pts is not None:
            heappush(waiting, packet.pts)
        try:
            frames = packet.decode()
        except (av.FFmpegError, OSError) as error:
            frames, damage = [], f"damaged frame: {_reason(error)}"
            if packet.pts is None:
                yield None, damage, None
        for frame in frames:
            late = frame.pts is not None and frame.pts not in waiting and bool(damage)
            while frame.pts is not None and waiting and waiting[0] < frame.pts:
                lost = heappop(waiting)
                if damage:
                    yield None, damage, lost
            if waiting and waiting[0] == frame.pts:
                heappop(waiting)
            if frame.is_corrupt:
                yield None, "damaged frame: only a part of it could be decoded", frame.pts
            elif not late:  # else it has been counted as lost
                yield frame, None, frame.pts
    while damage and waiting:
        yield None, damage, heappop(waiting)


def _packets(container: InputContainer, stream: Any) -> Iterator[tuple[Packet[Any] | None, str | None]]:
    """Yield the packets, and in the end why there are no more, if the container is damaged."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, OSError) as error:
            yield None, f"the video ends here: {_reason(error)}"
            return
        yield packet, None


def _upright(frame: VideoFrame, pixel_shape: Fraction | None) -> Image:
    """Return the pixels as a player shows them: turned by the container's rotation, and square.

    `pixel_shape` is the width of a pixel by its height; that of DVDs is not 1.
    """
    width = round(frame.width * pixel_shape) if pixel_shape else frame.width
    pixels: Any = frame.to_ndarray(format="rgb24", width=width)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def newest(frames: Generator[Frame]) -> Generator[Frame]:
    """Read `frames` in a thread and yield the newest one each time: what came while the reader was busy is dropped."""
    changed, waiting, ended = threading.Condition(), deque[Frame](maxlen=1), threading.Event()
    failure: list[Exception] = []

    def read() -> None:
        try:
            for frame in frames:
                with changed:
                    waiting.append(frame)
                    changed.notify()
                if ended.is_set():
                    break
        except Exception as error:  # the reader raises it
            failure.append(error)
        finally:
            with changed:
                ended.set()
                changed.notify()

    thread = threading.Thread(target=read, name="frames", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or ended.is_set())
                if not waiting:
                    break
                frame = waiting.popleft()
            yield frame
        if failure:
            raise failure[0]
    finally:
        ended.set()
        thread.join()


def _is_cover(stream: Any) -> bool:
    """Whether it is the one image that a song or a film carries as its cover."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _contents(container: InputContainer) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
