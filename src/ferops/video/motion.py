"""Where a box will be: the Kalman filter of ByteTrack and DeepSORT, constant velocity, for any time between frames.

Wojke, Bewley, Paulus, "Simple Online and Realtime Tracking with a Deep Association Metric", ICIP 2017. There it is one
filter of eight numbers; its noise is independent for centre x and y, aspect ratio and height, and so it falls into four
filters of two numbers, place and speed, which need no matrices. Same results.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP_S = 1 / 30
"""The published noise is that of one frame; frames were about this far apart."""

_PLACE, _SPEED = 1 / 20, 1 / 160  # standard deviations in heights of the box
_ASPECT_SEEN, _ASPECT, _ASPECT_SPEED = 1e-1, 1e-2, 1e-5


class Motion:
    """The filter of one box.

    Attributes:
        place: float64 `(4,)`: centre x, y, width / height, height, in pixels.
        speed: their change in a step of STEP_S.
    """

    def __init__(self, box: Floats) -> None:
        self.place, self.speed = _place(box), np.zeros(4)
        self._place_var = self._noise(2 * _PLACE, _ASPECT)
        self._both_var = np.zeros(4)  # the covariance of place and speed
        self._speed_var = self._noise(10 * _SPEED, _ASPECT_SPEED)

    @property
    def box(self) -> Floats:
        """x1, y1, x2, y2 in pixels, float64 `(4,)`."""
        x, y, aspect, height = self.place
        right, down = aspect * height / 2, height / 2
        return np.array([x - right, y - down, x + right, y + down])

    def predict(self, seconds: float) -> None:
        """Go on by that time."""
        steps = seconds / STEP_S
        place_noise, speed_noise = self._noise(_PLACE, _ASPECT), self._noise(_SPEED, _ASPECT_SPEED)
        self.place = self.place + steps * self.speed
        self._place_var = (
            self._place_var + 2 * steps * self._both_var + steps**2 * self._speed_var + steps * place_noise
        )
        self._both_var = self._both_var + steps * self._speed_var
        self._speed_var = self._speed_var + steps * speed_noise

    def update(self, box: Floats) -> None:
        """Take in where the box was seen, at the predicted time."""
        seen_var = self._place_var + self._noise(_PLACE, _ASPECT_SEEN)
        place_gain, speed_gain = self._place_var / seen_var, self._both_var / seen_var
        off = _place(box) - self.place
        self.place, self.speed = self.place + place_gain * off, self.speed + speed_gain * off
        self._speed_var = self._speed_var - speed_gain * self._both_var
        self._both_var, self._place_var = (1 - place_gain) * self._both_var, (1 - place_gain) * self._place_var

    def _noise(self, share: float, aspect: float) -> Floats:
        side = share * self.place[3]
        return np.array([side, side, aspect, side]) ** 2


def _place(box: Floats) -> Floats:
    width, height = box[2] - box[0], max(box[3] - box[1], 1e-3)
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, width / height, height])
