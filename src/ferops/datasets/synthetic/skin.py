"""Colour of the face: skin, brows, eyes, lips, teeth, lines. Linear RGB reflectance, 0-1, on the head's grid."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ferops.datasets.synthetic.fields import bump, ridge, sides, step
from ferops.datasets.synthetic.head import (
    COLUMNS,
    CROWS_FEET,
    NOSE_LINES,
    ROWS,
    Head,
    box,
    forehead_lines,
    frown_distance,
    nasolabial_distance,
    nose_tip_y,
)
from ferops.datasets.synthetic.identity import Identity
from ferops.datasets.synthetic.shape import EYE_Y, Array, Face


@lru_cache(maxsize=4)
def textures(seed: int) -> dict[str, Array]:
    """Noise of one person, the same in all images; each `(ROWS, COLUMNS)`, mean 0 and standard deviation 1."""
    rng = np.random.default_rng(seed)

    def noise(sigma_x: float, sigma_y: float) -> Array:
        field = cv2.GaussianBlur(
            rng.standard_normal((ROWS, COLUMNS)).astype(np.float32), (0, 0), sigmaX=sigma_x, sigmaY=sigma_y
        )
        return np.asarray((field - field.mean()) / field.std(), np.float32)

    return {
        "pores": noise(0.8, 0.8),
        "blotches": noise(14, 14),
        "strands": noise(0.9, 26),
        "locks": noise(4.0, 40),
        "curls": noise(5, 5),
        "hairs": noise(1.0, 2.6),
        "spots": noise(1.6, 1.6),
    }


def contrast(who: Identity) -> float:
    """Factor for eyes and teeth: dark skin is exposed longer, and its whites would burn out."""
    return float(np.interp(who.skin_tone, [5, 6, 10], [1.0, 0.85, 0.44]))


def mix(colour: Array, other: Array, share: Array) -> Array:
    """Blend `other` (`(3,)` or `(..., 3)`) over `colour` by `share` (0-1)."""
    return colour + (other - colour) * share[..., None]


def paint(face: Face, head: Head) -> tuple[Array, Array]:
    """Reflectance `(ROWS, COLUMNS, 3)` and gloss `(ROWS, COLUMNS)`."""
    noise = textures(face.who.texture_seed)
    colour = _complexion(face, head, noise)
    colour = _beard(face, head, colour, noise)
    colour = _lines(face, head, colour)
    gloss = 0.75 * head.front + 0.30 * bump(head.bx, head.by, 0, nose_tip_y(face), 0.10, 0.10)
    colour, gloss = _mouth(face, head, colour, gloss)
    for side in (0, 1):
        _brow(face, head, side, colour, noise)
        _eye(face, head, side, colour, gloss)
    return np.clip(colour, 0.0, 1.0).astype(np.float32), gloss.astype(np.float32)


def _complexion(face: Face, head: Head, noise: dict[str, Array]) -> Array:
    who = face.who
    x, y, a = head.bx, head.by, np.abs(head.bx)
    rough = 0.020 + 0.015 * who.wrinkles
    tone = 1 + rough * noise["pores"] + (0.018 + 0.012 * who.wrinkles) * noise["blotches"]
    colour: Array = who.skin * tone[..., None].astype(np.float32)
    flush = 0.55 * bump(a, y, 0.38, -0.16, 0.20, 0.16) + 0.60 * bump(x, y, 0, nose_tip_y(face) - 0.02, 0.14, 0.10)
    flush += 0.30 * bump(x, y, 0, -0.83 - face.jaw_drop, 0.18, 0.10) + who.makeup * 0.35 * bump(
        a, y, 0.43, -0.10, 0.16, 0.11
    )
    red = np.array([1.04, 0.80, 0.78], np.float32) if who.skin_tone <= 5 else np.array([1.06, 0.94, 0.90], np.float32)
    colour = colour * (1 + (red - 1) * (flush * head.front)[..., None])
    shade = (0.16 + 0.22 * who.wrinkles) * bump(a, y, who.eye_spacing - 0.03, EYE_Y - 0.095, 0.13, 0.035)
    shade += 0.20 * bump(a, y, who.eye_spacing - 0.16, EYE_Y, 0.04, 0.05)
    shade += (0.10 + 0.12 * who.makeup) * bump(a, y, who.eye_spacing, EYE_Y + 0.10, 0.15, 0.04)
    colour = colour * (1 - (shade * head.front)[..., None] * np.array([0.7, 0.95, 0.9], np.float32))
    if who.freckles:
        spots = step(noise["spots"], 1.3, 2.0) * (bump(a, y, 0.28, -0.05, 0.28, 0.16) + 0.3 * head.front)
        colour = colour * (1 - 0.35 * who.freckles * spots[..., None] * np.array([0.5, 0.9, 1.0], np.float32))
    if who.wrinkles > 0.5:
        spots = step(noise["spots"], 2.0, 2.6) * head.front
        colour = colour * (1 - 0.25 * spots[..., None] * np.array([0.7, 1.0, 1.0], np.float32))
    return np.asarray(colour, np.float32)


def _beard(face: Face, head: Head, colour: Array, noise: dict[str, Array]) -> Array:
    who = face.who
    if who.beard == 0:
        return colour
    x, y = head.bx, head.rest_y
    a = np.abs(x)
    area = step(y + 0.25 * (a - 0.45), -0.40, -0.52) + step(a, 0.54, 0.64) * step(y, 0.0, -0.1)
    moustache = bump(x, y, 0, -0.455, 0.26, 0.055)
    bare = 0.75 * bump(a, y, 0.30, -0.42, 0.10, 0.10)
    cover = np.clip(area * (1 - bare) + 0.95 * moustache, 0, 1) * step(head.bz, -0.25, 0.05)
    cover = cv2.GaussianBlur(cover.astype(np.float32), (0, 0), 4)
    if who.beard < 0.9:
        return mix(
            colour, who.hair * 0.9 + 0.01, cover * (who.beard * 0.75) * np.clip(0.75 + 0.3 * noise["pores"], 0.2, 1.2)
        )
    grain = np.clip(1.0 + 0.30 * noise["hairs"], 0.3, 1.9)
    return mix(
        colour, who.hair * 1.2 * grain[..., None], step(cover + 0.12 * noise["hairs"], 0.18, 0.80) * np.float32(0.94)
    )


def _lines(face: Face, head: Head, colour: Array) -> Array:
    folds, x, y = face.folds, head.bx, head.by
    a = np.abs(x)
    distance, fade = nasolabial_distance(face, x, y)
    dark = 0.26 * sides(x, folds.nasolabial) * fade * ridge(distance, 0.024)
    dark += 0.42 * folds.frown * ridge(frown_distance(a, y), 0.012) * bump(x, y, 0, 0.34, 1, 0.09)
    for centre, strength in forehead_lines(x, y):
        dark += 0.20 * folds.forehead * strength * ridge(centre, 0.011) * step(a, 0.46, 0.24)
    for line in NOSE_LINES:
        dark += 0.30 * folds.nose_wrinkle * ridge(y - line - 0.5 * a, 0.010) * step(a, 0.13, 0.06)
    corner = face.mouth.y + max(face.mouth.corner)
    dark += 0.40 * sides(x, folds.dimple) * bump(a, y, face.mouth.half_width + 0.045, corner, 0.016, 0.045)
    dark += 0.30 * folds.chin * ridge(y + 0.725 + face.jaw_drop, 0.02) * step(a, 0.2, 0.05)
    wide, tip = face.who.nose_width * (1 + 0.12 * folds.nostril), nose_tip_y(face)
    dark += 0.92 * step(bump(a, y, 0.066 * wide, tip - 0.088, 0.040, 0.021), 0.25, 0.85)
    wing = ridge(np.hypot((a - 0.118 * wide) / 0.060, (y - tip + 0.035) / 0.068) - 1, 0.16)
    dark += 0.30 * wing * step(a, 0.125 * wide, 0.165 * wide) * step(y, tip - 0.115, tip - 0.07)
    dark += 0.30 * bump(x, y, 0, tip - 0.115, 0.10 * wide, 0.020)
    share = np.clip(dark * head.front, 0, 0.95)
    return np.asarray(colour * (1 - share[..., None] * np.array([0.80, 0.97, 1.0], np.float32)), np.float32)


def _mouth(face: Face, head: Head, colour: Array, gloss: Array) -> tuple[Array, Array]:
    mouth, who = face.mouth, face.who
    part = box(head.bx, head.by, 0, mouth.y, rx=mouth.half_width + 0.06, ry=0.42)
    x, y, c, g = head.bx[part], head.by[part], colour[part], gloss[part]
    t = mouth.across(x)
    soft = 0.008
    inside_x = step(np.abs(x), mouth.half_width + 0.004, mouth.half_width - 0.010)
    lips = _between(y, mouth.outer_bottom(t), mouth.outer_top(t), soft)
    pale = who.skin_tone <= 5
    tint = (
        np.array([0.94, 0.57, 0.60], np.float32)
        if pale
        else np.array([0.98, 0.66, 0.64], np.float32) * float(np.interp(who.skin_tone, [7, 10], [1.0, 1.35]))
    )
    lipstick = np.array([0.42, 0.045, 0.055], np.float32) * (1.0 if pale else 0.6)
    lip = who.skin * tint * (1 - 0.35 * who.makeup) + lipstick * 0.35 * who.makeup
    upper = (y > mouth.middle(t)).astype(np.float32)
    lip = lip * (1 - 0.20 * upper)[..., None] * (1 + 0.06 * np.sin(90 * x))[..., None]
    c = mix(c, lip, lips * inside_x * np.float32(0.92))
    g = g + 0.8 * lips * inside_x * (1 - upper) + 0.2 * lips * upper
    seam = ridge(y - 0.5 * (mouth.inner_top(t) + mouth.inner_bottom(t)), 0.011) * inside_x
    c = c * (1 - 0.72 * seam[..., None])
    corner = ridge(np.abs(x) - mouth.half_width, 0.020) * ridge(y - mouth.middle(t), 0.022)
    c = c * (1 - 0.55 * corner[..., None])
    top, bottom = mouth.inner_top(t), mouth.inner_bottom(t)
    hole = _between(y, bottom, top, 0.005) * inside_x * step(top - bottom, 0.004, 0.018)
    c = mix(c, _oral(face, x, y, t=t, top=top, bottom=bottom), hole)
    colour[part], gloss[part] = c, g * (1 - 0.7 * hole)
    return colour, gloss


def _between(y: Array, low: Array, high: Array, soft: float) -> Array:
    return step(y - low, -soft, soft) * step(high - y, -soft, soft)


def _oral(face: Face, x: Array, y: Array, *, t: Array, top: Array, bottom: Array) -> Array:
    """Inside of the mouth: dark, a tongue when the jaw is down, upper teeth behind the lip, lower ones in front."""
    mouth = face.mouth
    dark = np.array([0.030, 0.010, 0.009], np.float32) * np.ones((*x.shape, 1), np.float32)
    tongue = bump(
        x, y, 0, float(mouth.inner_bottom(np.zeros(1, np.float32))[0]) + 0.02, 0.15, 0.05 + 0.2 * face.jaw_drop
    )
    inner = mix(
        dark, np.array([0.30, 0.085, 0.080], np.float32), np.clip(1.2 * tongue * step(top - bottom, 0.08, 0.2), 0, 1)
    )
    # Upper teeth: fixed to the skull; a raised lip shows more of them
    rest = face.mouth.y + 0.006 if face.jaw_drop < 0.05 else np.float32(-0.555 + 0.008)
    edge = np.minimum(rest, top - 0.012) - 0.055 + 0.010 * t * t
    teeth = step(y, edge - 0.008, edge + 0.006) * step(np.abs(t), 1.02, 0.80)
    gaps = 1 - 0.22 * ridge(np.mod(x + 0.029, 0.058) - 0.029, 0.006) * step(np.abs(x), 0.3, 0.1)
    roof = np.clip(0.35 + (top - y) / 0.035, 0.35, 1) * (1 - 0.55 * np.abs(t) ** 2.5)
    enamel = np.array([0.80, 0.75, 0.66], np.float32) * (1 - 0.15 * face.who.wrinkles) * contrast(face.who)
    inner = mix(inner, enamel * (gaps * roof)[..., None], teeth)
    low_edge = bottom + 0.042 - 0.010 * t * t
    lower = step(y, low_edge + 0.006, low_edge - 0.008) * step(np.abs(t), 0.85, 0.6)
    shown = lower * min(1.0, max(0.0, 12 * (mouth.lower_open - mouth.upper_open - 0.02)))
    return mix(inner, enamel * 0.62 * gaps[..., None], shown)


def _brow(face: Face, head: Head, side: int, colour: Array, noise: dict[str, Array]) -> None:
    brow, who = face.brows[side], face.who
    part = box(head.bx, head.by, (-1, 1)[side] * 0.33, float(np.mean(brow.ys)), rx=0.30, ry=0.17)
    a, y = np.abs(head.bx[part]), head.by[part]
    t = np.clip((a - brow.xs[0]) / (brow.xs[3] - brow.xs[0]), -0.2, 1.2)
    profile = np.sqrt(step(t, -0.06, 0.16) * step(t, 1.06, 0.45)) * (1 - 0.25 * t)
    edge = (y - brow.curve(a)) / np.maximum(brow.thickness * profile, 1e-3)
    hairs = noise["hairs"][part]
    cover = step(np.abs(edge) + 0.22 * hairs, 1.25, 0.45) * step(profile, 0.08, 0.35)
    dark = (
        np.minimum(who.hair * 0.75, who.skin * 0.45)
        if who.age != "older"
        else np.minimum(who.hair * 0.6, who.skin * 0.55)
    )
    density = np.clip(0.86 + 0.10 * hairs, 0.4, 1) * (0.90 if who.hair.max() < 0.2 else 0.75)
    colour[part] = mix(colour[part], dark, (cover * density).astype(np.float32))


def _eye(face: Face, head: Head, side: int, colour: Array, gloss: Array) -> None:
    eye, who = face.eyes[side], face.who
    part = box(head.bx, head.by, (-1, 1)[side] * eye.x, eye.y, rx=0.25, ry=0.17)
    x, y = head.bx[part], head.by[part]
    a, c, g = np.abs(x), colour[part], gloss[part]
    t = eye.across(a)
    up, low = eye.upper(t), eye.lower(t)
    along = step(np.abs(t), 1.12, 0.92)
    # Fold above the lid, rim of the lower lid, then the eyeball, then the lashes on top
    fold = ridge(y - up - eye.crease, 0.011) * step(np.abs(t - 0.05), 1.15, 0.70)
    c = c * (1 - (0.50 * fold)[..., None] * np.array([0.75, 0.95, 1.0], np.float32))
    under = sides(x, face.folds.lower_lid)
    c = c * (1 - (0.20 * under * ridge(y - low + 0.050 + 0.02 * t * t, 0.016) * step(np.abs(t), 1.1, 0.5))[..., None])
    feet, reach = face.folds.crows_feet[side], a - eye.x - eye.half_width
    for slope in CROWS_FEET:
        line = ridge(y - eye.y - eye.tilt - slope * reach, 0.009) * step(reach, 0.02, 0.05) * step(reach, 0.16, 0.08)
        c = c * (1 - (0.28 * feet * line)[..., None])
    opening = _between(y, low, up, 0.005) * step(np.abs(t), 1.0, 0.97)
    c = mix(c, _eyeball(face, side, x, y, up), opening)
    rim = ridge(y - low + 0.004, 0.008) * along
    c = c * (1 - (0.30 * rim)[..., None])
    thick = 0.012 + 0.008 * who.makeup + (0.003 if who.feminine else 0.0)
    lashes = ridge(y - up - 0.003, thick * 0.9) * step(t, -1.08, -0.6) * step(t, 1.18, 1.0)
    wing = (
        ridge(y - eye.y - eye.tilt - 0.9 * (t - 1) * 0.10, 0.011)
        * step(t, 0.9, 1.0)
        * step(t, 1.3, 1.1)
        * (0.3 + 0.6 * who.makeup)
    )
    c = mix(c, np.array([0.012, 0.009, 0.008], np.float32), np.clip(0.92 * lashes + wing, 0, 0.95))
    colour[part], gloss[part] = c, g * (1 - opening)


def _eyeball(face: Face, side: int, x: Array, y: Array, up: Array) -> Array:
    eye, who = face.eyes[side], face.who
    sign = np.float32((-1, 1)[side])
    cx = sign * eye.x + sign * eye.gaze_x * eye.iris
    cy = eye.y + 0.008 + eye.gaze_y * eye.iris
    r = np.hypot(x - cx, y - cy)
    white = np.array([0.66, 0.63, 0.60], np.float32) * (1 - 0.06 * who.wrinkles) * contrast(who)
    t = np.abs(eye.across(np.abs(x)))
    ball: Array = white * (1 - 0.30 * t**4)[..., None] * np.array([1, 1 - 0.06, 1 - 0.06], np.float32)
    streaks = 1 + 0.18 * np.sin(13 * np.arctan2(y - cy, x - cx))
    iris = who.iris * contrast(who) * (streaks * (0.75 + 0.8 * step(r, eye.iris, eye.iris * 0.4)))[..., None]
    iris = iris * (1 - 0.75 * step(r, eye.iris * 0.72, eye.iris * 0.98))[..., None]
    ball = mix(ball, iris.astype(np.float32), step(r, eye.iris * 1.06, eye.iris * 0.92))
    ball = mix(ball, np.array([0.004, 0.004, 0.004], np.float32), step(r, eye.iris * 0.50, eye.iris * 0.38))
    ball = ball * (1 - 0.60 * ridge(y - up, 0.022))[..., None]  # shadow of the lid and its lashes
    glint = step(np.hypot(x - cx + 0.020, y - cy - 0.024), 0.017, 0.009)
    return mix(ball, np.array([1.0, 1.0, 1.0], np.float32), glint * np.float32(0.95))
