"""Videos that the tests write themselves."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
MS = Fraction(1, 1000)


def counted(number: int, *, width: int = 96, height: int = 64) -> Image:
    """A frame that tells its number: the left upper corner is a grey of 10 times that, the rest a gradient."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 2] = np.linspace(0, 200, width, dtype=np.uint8)
    pixels[: height // 2, : width // 2] = 10 * number
    return pixels


def number_of(pixels: Image) -> int:
    """Return the number of a frame of `counted`."""
    return round(float(pixels[4:12, 4:12].mean()) / 10)


def write_video(
    path: Path, frames: Iterable[Image], *, times_ms: Iterable[int] | None = None, codec: str = "libx264", **stream: Any
) -> Path:
    """Write frames 40 ms apart, or at `times_ms`; `stream` sets attributes of the stream."""
    rotation = stream.pop("rotation", 0)
    with av.open(str(path), "w") as container:
        made = None
        for number, (pixels, at_ms) in enumerate(zip(frames, times_ms or range(0, 10**6, 40), strict=False)):
            if made is None:
                made = container.add_stream(codec, rate=25)
                made.height, made.width = pixels.shape[:2]
                made.pix_fmt = "yuv420p"
                made.codec_context.time_base = MS
                for name, value in stream.items():
                    setattr(made, name, value)
                if rotation:
                    made.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = at_ms, MS
            container.mux(made.encode(frame))
            assert number < 10_000
        assert made is not None
        container.mux(made.encode(None))
    return path
