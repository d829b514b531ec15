"""One frame of a video or of a live camera. A module of its own: who looks at frames need not be able to read files."""

from __future__ import annotations

from dataclasses import dataclass

from ferops.faces.detection import Image


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Frame:
    """One frame.

    Attributes:
        number: from 0, as they lie in the video; numbers are left out where `max_fps` or a late reader drops frames.
        time_s: seconds since the first frame, as the container says; never falls.
        pixels: RGB uint8 `(H, W, 3)`, upright; None for a damaged frame.
        reason: what is wrong with a damaged frame.
    """

    number: int
    time_s: float
    pixels: Image | None
    reason: str | None = None
