"""From a person and their active units to the curves of brows, eyes and mouth, and the depth of folds.

Everything here is a handful of numbers per image; `head` turns them into geometry and `skin` into colour.
Head units, y up, x to the right of the image; `a` is |x|. Index 0 is the left of the image, 1 the right.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.datasets.synthetic.identity import Identity

EYE_Y = 0.13
MOUTH_Y = -0.555

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Eye:
    """Almond between two lids: `x, y` centre, `half_width`, `up` and `low` the lids' heights above and below it."""

    x: float
    y: float
    half_width: float
    up: float
    low: float
    tilt: float
    crease: float  # distance of the fold above the upper lid's edge
    iris: float
    gaze_x: float
    gaze_y: float

    def across(self, a: Array) -> Array:
        """Position along the eye: -1 at the inner corner, 1 at the outer."""
        return (a - np.float32(self.x)) / np.float32(self.half_width)

    def upper(self, t: Array) -> Array:
        """Height of the upper lid's edge at `across` = t; it peaks a little towards the nose."""
        s = np.clip(t + 0.10 * (1 - t * t), -1, 1)
        return np.float32(self.y) + self.tilt * t + self.up * np.sqrt(np.maximum(1 - s * s, 0)) ** np.float32(1.25)

    def lower(self, t: Array) -> Array:
        """Height of the lower lid's edge; it sags most towards the temple."""
        s = np.clip(t - 0.12 * (1 - t * t), -1, 1)
        return np.float32(self.y) + self.tilt * t - self.low * np.sqrt(np.maximum(1 - s * s, 0)) ** np.float32(1.35)


@dataclass(frozen=True)
class Brow:
    """Cubic through four points from the inner to the outer end; `thickness` is half the height of the hair."""

    xs: tuple[float, float, float, float]
    ys: tuple[float, float, float, float]
    thickness: float

    def curve(self, a: Array) -> Array:
        middle = 0.33
        coefficients = np.polyfit(np.array(self.xs) - middle, self.ys, 3).astype(np.float32)
        inside = np.clip(a, self.xs[0] - 0.03, self.xs[3] + 0.03) - np.float32(middle)
        return np.asarray(np.polyval(coefficients, inside), np.float32)


@dataclass(frozen=True)
class Mouth:
    """Lips as four curves of t = (x - centre) / half width: outer and inner edge of each lip."""

    y: float
    half_width: float
    corner: tuple[float, float]  # rise of each corner above the middle
    upper_open: float
    lower_open: float
    upper_lip: float
    lower_lip: float
    roundness: float  # 0 a slit that narrows towards its corners, 1 an O

    def across(self, x: Array) -> Array:
        return np.asarray(np.clip(x / np.float32(self.half_width), -1, 1))

    def middle(self, t: Array) -> Array:
        rise = np.where(t < 0, np.float32(self.corner[0]), np.float32(self.corner[1]))
        return np.asarray(np.float32(self.y) + rise * np.abs(t) ** np.float32(1.9))

    def _hill(self, t: Array) -> Array:
        return np.asarray(np.maximum(1 - t * t, 0) ** np.float32(0.85 - 0.4 * self.roundness))

    def inner_top(self, t: Array) -> Array:
        notch = np.float32(0.006) * np.exp(-((t / 0.16) ** 2))
        return np.asarray(self.middle(t) + self.upper_open * self._hill(t) - notch)

    def inner_bottom(self, t: Array) -> Array:
        return np.asarray(self.middle(t) - self.lower_open * self._hill(t))

    def outer_top(self, t: Array) -> Array:
        bow = 1 + 0.16 * np.exp(-(((np.abs(t) - 0.26) / 0.17) ** 2)) - 0.20 * np.exp(-((t / 0.11) ** 2))
        return np.asarray(self.inner_top(t) + self.upper_lip * np.maximum(1 - np.abs(t) ** np.float32(1.7), 0) * bow)

    def outer_bottom(self, t: Array) -> Array:
        return np.asarray(self.inner_bottom(t) - self.lower_lip * np.maximum(1 - t * t, 0) ** np.float32(0.75))


@dataclass(frozen=True)
class Folds:
    """Depth of each furrow, 0-1 and a little above; pairs are left and right of the image."""

    forehead: float
    frown: float
    nose_wrinkle: float
    crows_feet: tuple[float, float]
    nasolabial: tuple[float, float]
    cheek: tuple[float, float]  # lift of the cheeks
    lower_lid: tuple[float, float]
    chin: float
    marionette: float
    nostril: float
    dimple: tuple[float, float]


@dataclass(frozen=True)
class Face:
    """One person with one expression."""

    who: Identity
    eyes: tuple[Eye, Eye]
    brows: tuple[Brow, Brow]
    mouth: Mouth
    folds: Folds
    jaw_drop: float


def build(
    who: Identity, units: dict[int, float], *, gaze: tuple[float, float] = (0.0, 0.0), only_side: int | None = None
) -> Face:
    """Apply the active units (number -> 0-1) to a person at rest.

    Args:
        gaze: (right, up), in iris radii.
        only_side: 0 or 1 where the corner of the mouth (units 12 and 14) moves on the left or right alone.
    """

    def pulled(unit: int, side: int) -> float:
        return 0.0 if unit in (12, 14) and only_side == 1 - side else units[unit] * who.asymmetry[side]

    left, right = (defaultdict(float, {unit: pulled(unit, side) for unit in units}) for side in (0, 1))
    both = defaultdict(float, units)
    if only_side is not None:
        both |= {unit: units[unit] / 2 for unit in (12, 14) if unit in units}
    return Face(
        who=who,
        eyes=(_eye(who, left, gaze=(-gaze[0], gaze[1])), _eye(who, right, gaze=gaze)),
        brows=(_brow(who, left), _brow(who, right)),
        mouth=_mouth(who, both, left, right),
        folds=_folds(who, both, left, right),
        jaw_drop=0.13 * both[26] + 0.10 * both[27] + 0.012 * both[25],
    )


def _eye(who: Identity, au: dict[int, float], *, gaze: tuple[float, float]) -> Eye:
    size = who.eye_size
    droop = 0.012 if who.age == "older" else 0.0
    up = 0.074 * size - droop + 0.040 * au[5] - 0.018 * au[7] - 0.020 * au[6] - 0.028 * au[9] - 0.010 * au[12]
    up -= max(0.0, 0.008 * au[4] - 0.01 * au[5]) + 0.012 * au[15]
    low = 0.044 * size + 0.007 * au[5] - 0.020 * au[7] - 0.026 * au[6] - 0.018 * au[9] + 0.004 * au[27]
    return Eye(
        x=who.eye_spacing,
        y=EYE_Y,
        half_width=0.146 * size,
        up=max(up, 0.018),
        low=max(low, 0.010),
        tilt=who.eye_tilt - 0.012 * au[1],
        crease=0.018 + 0.030 * who.lid_fold + 0.012 * (au[1] + au[2]) - 0.018 * au[4] - 0.012 * au[5],
        iris=0.061 * (0.5 + 0.5 * size),
        gaze_x=gaze[0],
        gaze_y=gaze[1],
    )


def _brow(who: Identity, au: dict[int, float]) -> Brow:
    rest = 0.325 + who.brow_height
    arch = 0.028 * who.brow_arch
    squeeze = 0.040 * au[4] + 0.015 * au[9]
    return Brow(
        xs=(0.125 - squeeze, 0.265 - 0.5 * squeeze, 0.405, 0.535),
        ys=(
            rest - 0.008 + 0.125 * au[1] - 0.100 * au[4] - 0.055 * au[9],
            rest + 0.6 * arch + 0.075 * au[1] + 0.060 * au[2] - 0.075 * au[4] - 0.045 * au[9],
            rest + arch + 0.018 * au[1] + 0.115 * au[2] - 0.040 * au[4] - 0.030 * au[9] - 0.010 * au[6],
            rest - 0.022 - 0.012 * au[1] + 0.095 * au[2] - 0.015 * au[4] - 0.018 * au[9] - 0.020 * au[6],
        ),
        thickness=0.030 * who.brow_thickness,
    )


def _mouth(who: Identity, au: dict[int, float], left: dict[int, float], right: dict[int, float]) -> Mouth:
    part = 0.020 * au[25] + 0.010 * au[20] * au[26]
    smile_teeth = 0.070 * au[12] * min(1.0, 1.6 * au[25])
    jaw = 0.15 * au[26] + 0.13 * au[27]
    corner = tuple(
        0.085 * side[12]
        - 0.075 * side[15]
        - 0.022 * side[20]
        + 0.010 * side[6]
        - 0.02 * side[17]
        - 0.004
        - 0.07 * au[26]
        - 0.03 * au[27]
        + 0.035 * side[12] * au[25]
        + 0.030 * side[14]
        for side in (left, right)
    )
    thin = 1 - 0.42 * au[23] - 0.45 * au[24] - 0.12 * au[12] - 0.15 * au[20]
    spread = (
        0.092 * au[12]
        + 0.070 * au[20]
        + 0.015 * au[15]
        - 0.035 * au[23]
        - 0.010 * au[24]
        - 0.030 * au[26]
        - 0.050 * au[27]
    )
    spread += 0.012 * au[10] - 0.020 * au[17] + 0.020 * au[14]
    lift = 0.030 * au[10] + 0.032 * au[9] + 0.020 * au[17]
    return Mouth(
        y=MOUTH_Y + 0.75 * lift - 0.30 * jaw - 0.010 * au[12],
        half_width=0.232 * who.mouth_width + spread,
        corner=(corner[0] - 0.5 * lift + 0.25 * jaw, corner[1] - 0.5 * lift + 0.25 * jaw),
        upper_open=0.35 * smile_teeth + 0.28 * part + 0.38 * jaw + 0.024 * au[10] + 0.012 * au[9] * au[16],
        lower_open=0.95 * smile_teeth + 0.9 * part + 0.62 * jaw + 0.045 * au[16] + 0.012 * au[20],
        upper_lip=0.056 * who.lip_fullness * thin * (1 - 0.12 * au[9] - 0.15 * au[26]),
        lower_lip=0.078 * who.lip_fullness * thin * (1 + 0.18 * au[17] - 0.10 * au[26]),
        roundness=min(1.0, 0.9 * au[27] + 0.55 * au[26] * (1 - au[20])),
    )


def _folds(who: Identity, au: dict[int, float], left: dict[int, float], right: dict[int, float]) -> Folds:
    age = who.wrinkles
    sides = (left, right)

    def pair(base: float, **weights: float) -> tuple[float, float]:
        values = [base + sum(weight * side[int(unit[2:])] for unit, weight in weights.items()) for side in sides]
        return values[0], values[1]

    return Folds(
        forehead=0.30 * age + (0.55 + 0.35 * age) * (0.5 * au[1] + 0.7 * au[2]),
        frown=0.20 * age + 0.95 * au[4] + 0.25 * au[9],
        nose_wrinkle=0.95 * au[9],
        crows_feet=pair(0.30 * age, au6=0.55 + 0.4 * age, au7=0.1),
        nasolabial=pair(0.20 + 0.35 * age, au12=0.55, au6=0.20, au9=0.65, au10=0.65, au15=0.12, au20=0.15, au14=0.35),
        cheek=pair(0.0, au6=0.8, au12=0.7, au9=0.35),
        lower_lid=pair(0.15 + 0.5 * age, au6=0.65, au7=0.55, au9=0.45),
        chin=0.9 * au[17] + 0.25 * au[15] + 0.25 * au[24],
        marionette=0.30 * age + 0.60 * au[15] + 0.15 * au[17],
        nostril=0.9 * au[9] + 0.35 * au[10] + 0.10 * au[12],
        dimple=pair(0.0, au14=1.0),
    )
