"""The head as a grid of points: a skull from cross-sections, then features added as heights towards the viewer.

Columns run around the head (azimuth -150 to 150 degrees, finest at the front), rows from the crown to below the chin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from ferops.datasets.synthetic.fields import bump, ridge, sides, step
from ferops.datasets.synthetic.shape import EYE_Y, Array, Face

ROWS, COLUMNS = 350, 380
_REACH = np.deg2rad(150.0)

# From crown to underside of the chin: y, half width, depth of the front, depth of the back
_SECTIONS = np.array(
    [
        (1.15, 0.02, 0.02, 0.02),
        (1.11, 0.27, 0.30, 0.32),
        (1.00, 0.48, 0.53, 0.60),
        (0.82, 0.63, 0.70, 0.82),
        (0.60, 0.70, 0.785, 0.95),
        (0.35, 0.725, 0.82, 1.00),
        (0.10, 0.725, 0.80, 0.95),
        (-0.12, 0.705, 0.80, 0.80),
        (-0.35, 0.650, 0.80, 0.55),
        (-0.55, 0.575, 0.80, 0.30),
        (-0.71, 0.475, 0.79, 0.15),
        (-0.84, 0.350, 0.765, 0.05),
        (-0.915, 0.255, 0.720, 0.0),
        (-0.950, 0.180, 0.640, 0.0),
        (-0.945, 0.220, 0.520, 0.0),
        (-0.91, 0.320, 0.30, 0.0),
    ]
)


NOSE_LINES = (0.155, 0.195, 0.235)
"""Heights of the furrows across the bridge of the nose."""

CROWS_FEET = (0.55, 0.05, -0.5)
"""Slopes of the lines that fan out from the outer corner of the eye."""


@dataclass(frozen=True)
class Grid:
    """Parameter of each row (0-1) and azimuth of each column (radians)."""

    along: Array  # (ROWS,)
    azimuth: Array  # (COLUMNS,)


@dataclass(frozen=True)
class Head:
    """Grid arrays `(ROWS, COLUMNS)`: the skull with the jaw moved (`bx, by, bz`) and the skin over it (`z`)."""

    bx: Array
    by: Array
    bz: Array
    z: Array
    front: Array  # 1 on the face, fading to 0 at the sides
    rest_y: Array  # y with the jaw closed


@cache
def grid() -> Grid:
    u = np.linspace(-1, 1, COLUMNS)
    return Grid(
        along=np.linspace(0, 1, ROWS).astype(np.float32),
        azimuth=(_REACH * (0.5 * u + 0.5 * u**3)).astype(np.float32),
    )


def skull(face: Face) -> tuple[Array, Array, Array, Array]:
    """Base positions x, y, z and the y at rest, each `(ROWS, COLUMNS)`."""
    who, g = face.who, grid()
    # Rows are spread by arc length so that the crown and the chin are as fine as the middle
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(_SECTIONS[:, 0]), 0.6 * np.diff(_SECTIONS[:, 1])))])
    y, w, zf, zb = PchipInterpolator(length / length[-1], _SECTIONS)(g.along).astype(np.float32).T
    lower = step(y, -0.1, -0.6)
    chin = step(y, -0.7, -0.98)
    w = w * who.face_width * (1 + (who.jaw - 1) * lower + (who.chin - 1) * 0.6 * chin)
    y = np.where(y < 0, y * who.face_length, y).astype(np.float32)
    rest_y = np.repeat(y[:, None], COLUMNS, 1)
    flat = g.azimuth + 0.10 * np.sin(2 * g.azimuth)
    bx = w[:, None] * np.sin(flat)[None]
    cosine = np.cos(flat)[None]
    bz = np.where(cosine > 0, zf[:, None], zb[:, None]) * cosine
    drop = face.jaw_drop * step(rest_y, -0.42, -0.80) * step(bz, -0.05, 0.35)
    by = rest_y - drop
    bz = bz - 0.25 * drop
    return bx.astype(np.float32), by.astype(np.float32), bz.astype(np.float32), rest_y


def build(face: Face) -> Head:
    """Geometry of one image."""
    bx, by, bz, rest_y = skull(face)
    front = step(np.cos(grid().azimuth)[None], 0.05, 0.45) * np.ones_like(bx)
    low, high = _window(rest_y)
    z = bz.copy()
    x, y, f = bx[low:high], by[low:high], front[low:high]
    z[low:high] += f * (_bones(face, x, y) + _nose(face, x, y) + _folds(face, x, y))
    z[low:high] = _mouth(face, x, y, z[low:high])
    for side in (0, 1):
        _eye(face, side, bx, by, z)
    return Head(bx, by, bz, z, front, rest_y)


def _window(rest_y: Array) -> tuple[int, int]:
    rows = np.flatnonzero(rest_y[:, 0] < 0.85)
    return int(rows[0]), ROWS


def box(bx: Array, by: Array, x: float, y: float, *, rx: float, ry: float) -> tuple[slice, slice]:
    """Part of the grid whose points on the face lie within rx, ry of (x, y)."""
    middle = COLUMNS // 2
    rows = np.flatnonzero((by[:, middle] < y + ry) & (by[:, middle] > y - ry))
    across = bx[(rows[0] + rows[-1]) // 2]
    columns = np.flatnonzero((across > x - rx) & (across < x + rx) & (np.abs(grid().azimuth) < 1.45))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _bones(face: Face, x: Array, y: Array) -> Array:
    who, a = face.who, np.abs(x)
    brow = np.where(x < 0, face.brows[0].curve(a), face.brows[1].curve(a))
    heavy = 0.045 if not who.feminine else 0.026
    cheek = sides(x, face.folds.cheek)
    height = heavy * ridge(y - brow, 0.085) * step(a, 0.60, 0.35)
    height -= 0.075 * bump(a, y, who.eye_spacing, EYE_Y + 0.02, 0.20, 0.13)
    height -= 0.055 * bump(a, y, 0.15, EYE_Y + 0.01, 0.06, 0.10)
    height += 0.050 * who.cheek * bump(a, y, 0.42, -0.14, 0.20, 0.20)
    height += cheek * (0.075 * bump(a, y, 0.37, -0.12, 0.17, 0.15) - 0.02 * bump(a, y, 0.40, -0.42, 0.10, 0.15))
    height -= 0.035 * bump(a, y, 0.42, -0.48, 0.13, 0.20) * (1.4 - 0.5 * who.cheek)
    height += 0.050 * bump(x, y, 0.0, -0.56, 0.30, 0.20)
    height += 0.045 * bump(x, y, 0.0, -0.83 - face.jaw_drop, 0.17 * who.chin, 0.10)
    lip_bottom = float(face.mouth.outer_bottom(np.zeros(1, np.float32))[0])
    height -= 0.045 * bump(x, y, 0.0, lip_bottom - 0.045, 0.16, 0.045)
    height -= 0.016 * bump(x, y, 0.0, -0.47, 0.026, 0.07)
    height += 0.008 * (bump(a, y, 0.048, -0.47, 0.02, 0.07))
    return height


def nose_tip_y(face: Face) -> float:
    return -0.27 * face.who.nose_length + 0.018 * face.folds.nostril


def _nose(face: Face, x: Array, y: Array) -> Array:
    who, a = face.who, np.abs(x)
    tip = nose_tip_y(face)
    wide = who.nose_width
    along = np.clip((0.22 - y) / np.float32(0.22 - tip), 0, 1.2)
    profile = (
        (0.050 + 0.165 * who.nose_bridge * along ** np.float32(1.25))
        * step(y, 0.36, 0.12)
        * step(y, tip - 0.115, tip + 0.045)
    )
    width = (0.062 + 0.050 * along) * wide
    height = profile * np.exp(-((x / width) ** 2))
    height += 0.105 * bump(x, y, 0, tip, 0.092 * wide, 0.082)
    flare = 1 + 0.12 * face.folds.nostril
    height += 0.085 * bump(a, y, 0.112 * wide * flare, tip - 0.035 + 0.015 * face.folds.nostril, 0.055, 0.058)
    height -= 0.070 * bump(a, y, 0.062 * wide * flare, tip - 0.092, 0.034 * flare, 0.022)
    height += 0.030 * bump(x, y, 0, tip - 0.09, 0.022, 0.04)
    return np.asarray(height, np.float32)


def nasolabial_distance(face: Face, x: Array, y: Array) -> tuple[Array, Array]:
    """Signed distance outwards from the fold between nose wing and mouth corner, and how strongly it shows along y."""
    a = np.abs(x)
    top, bottom = -0.24, face.mouth.y - 0.06
    t = np.clip((top - y) / np.float32(top - bottom), 0, 1)
    end = face.mouth.half_width + 0.075
    curve = (
        0.165 * face.who.nose_width
        + (end - 0.165 * face.who.nose_width) * t ** np.float32(0.85)
        + 0.012 * np.sin(np.pi * t)
    )
    fade = step(y, top + 0.04, top - 0.05) * step(y, bottom - 0.10, bottom + 0.05)
    return a - curve, fade


def forehead_lines(x: Array, y: Array) -> list[tuple[Array, float]]:
    """Signed distance from each furrow of the forehead, and its strength."""
    lines = ((0.495, 0.8), (0.575, 1.0), (0.655, 0.7))
    return [(y - line - 0.018 * np.cos(6.0 * x + line * 9), strength) for line, strength in lines]


def frown_distance(a: Array, y: Array) -> Array:
    """Signed distance from the two upright furrows between the brows."""
    return a - 0.042 - 0.10 * (y - 0.30)


def _folds(face: Face, x: Array, y: Array) -> Array:
    folds, a = face.folds, np.abs(x)
    distance, fade = nasolabial_distance(face, x, y)
    depth = sides(x, folds.nasolabial)
    height = depth * fade * (0.028 * ridge(distance - 0.045, 0.05) - 0.026 * ridge(distance, 0.022))
    height -= 0.016 * folds.frown * ridge(frown_distance(a, y), 0.013) * bump(x, y, 0, 0.33, 1, 0.10)
    height += 0.016 * folds.frown * bump(a, y, 0.085, 0.30, 0.04, 0.06)
    for centre, strength in forehead_lines(x, y):
        height += (
            folds.forehead
            * strength
            * step(a, 0.46, 0.24)
            * (0.010 * ridge(centre - 0.028, 0.024) - 0.011 * ridge(centre, 0.012))
        )
    for line in NOSE_LINES:
        height -= 0.010 * folds.nose_wrinkle * ridge(y - line - 0.5 * a, 0.011) * step(a, 0.13, 0.06)
    corner = face.mouth.y + max(face.mouth.corner)
    height -= (
        0.018
        * folds.marionette
        * ridge(a - face.mouth.half_width - 0.03 - 0.15 * (corner - y), 0.016)
        * bump(x, y, 0, corner - 0.09, 1, 0.075)
    )
    height -= 0.045 * sides(x, folds.dimple) * bump(a, y, face.mouth.half_width + 0.045, corner, 0.028, 0.050)
    height += 0.030 * folds.chin * bump(x, y, 0, -0.81, 0.13, 0.07) - 0.014 * folds.chin * bump(
        x, y, 0, -0.725, 0.13, 0.02
    )
    return np.asarray(height, np.float32)


def _mouth(face: Face, x: Array, y: Array, z: Array) -> Array:
    mouth = face.mouth
    t = mouth.across(x)
    within = step(np.abs(x), mouth.half_width + 0.012, mouth.half_width - 0.012)
    top, bottom = mouth.inner_top(t), mouth.inner_bottom(t)
    high, low = mouth.outer_top(t), mouth.outer_bottom(t)
    upper = np.clip((y - top) / np.maximum(high - top, 0.004), 0, 1)
    lower = np.clip((bottom - y) / np.maximum(bottom - low, 0.004), 0, 1)
    taper = np.sqrt(np.maximum(1 - t * t, 0))
    roll = np.where(y > top, 0.042 * np.sqrt(np.maximum(1 - upper, 0)) * (upper < 1), 0) + np.where(
        y < bottom, 0.058 * np.sqrt(np.maximum(1 - (2 * lower - 0.75) ** 2, 0)) * (lower < 1), 0
    )
    inside = (y < top) & (y > bottom)
    gap = np.maximum(np.minimum(top - y, y - bottom), 0)
    cave = np.where(inside, np.minimum(gap * 2.2, 0.07), 0) + 0.020 * ridge(y - mouth.middle(t), 0.008) * (gap < 0.004)
    corner = ridge(np.abs(x) - mouth.half_width, 0.03) * ridge(y - mouth.middle(t), 0.035)
    return np.asarray(z + within * taper * roll - within * cave - 0.030 * corner, np.float32)


def _eye(face: Face, side: int, bx: Array, by: Array, z: Array) -> None:
    """Eyeball, lid margins and the fold of the upper lid; changes z in place."""
    eye = face.eyes[side]
    part = box(bx, by, (-1, 1)[side] * eye.x, eye.y, rx=0.26, ry=0.20)
    a, y = np.abs(bx[part]), by[part]
    t = eye.across(a)
    up, low = eye.upper(t), eye.lower(t)
    radius2 = ((a - eye.x) / 0.22) ** 2 + ((y - eye.y) / 0.20) ** 2
    ball = 0.080 * np.maximum(1 - radius2, 0) ** np.float32(1.4)
    inside = (y < up) & (y > low) & (np.abs(t) < 1)
    z[part] += ball - 0.020 * inside
    along = step(np.abs(t), 1.25, 0.75)
    z[part] += 0.012 * ridge(y - low + 0.022, 0.018) * along * (1 + 0.8 * sides(bx[part], face.folds.lower_lid))
    fold = up + eye.crease
    z[part] += along * (0.016 * ridge(y - fold - 0.035, 0.030) - 0.018 * ridge(y - fold, 0.012))
    bag = sides(bx[part], face.folds.lower_lid)
    z[part] -= 0.008 * bag * ridge(y - low + 0.070 - 0.02 * t * t, 0.018) * along
    # Crow's feet: three lines fanning out from the outer corner
    feet = face.folds.crows_feet[side]
    corner_x, corner_y = eye.x + eye.half_width, eye.y + eye.tilt
    reach = a - corner_x
    for slope in CROWS_FEET:
        z[part] -= (
            0.012
            * feet
            * ridge(y - corner_y - slope * reach, 0.010)
            * step(reach, 0.02, 0.05)
            * step(reach, 0.16, 0.08)
        )


def point(head: Head, x: float, y: float) -> Array:
    """The skin's point at face coordinates (x, y), as `(3,)`; the nearest grid point gives the depth."""
    distance = (head.bx - x) ** 2 + (head.by - y) ** 2 + np.where(head.front > 0.2, 0, 9).astype(np.float32)
    row, column = np.unravel_index(int(distance.argmin()), distance.shape)
    return np.array([x, y, head.z[row, column]], np.float32)


def cavity(head: Head) -> Array:
    """Ambient light that reaches each point, 0-1: points lower than their neighbourhood get less."""
    small = cv2.GaussianBlur(head.z, (0, 0), 5)
    wide = cv2.GaussianBlur(head.z, (0, 0), 16)
    return np.clip(1 - 6.0 * np.maximum(small - head.z, 0) - 2.6 * np.maximum(wide - head.z, 0) * head.front, 0.25, 1)
