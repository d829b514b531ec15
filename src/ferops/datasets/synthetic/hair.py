"""Hair: a shell over the skull, and a curtain behind the face for long styles."""

from __future__ import annotations

import numpy as np

from ferops.datasets.synthetic.fields import bump, step
from ferops.datasets.synthetic.head import COLUMNS, ROWS, Head, grid
from ferops.datasets.synthetic.mesh import Mesh
from ferops.datasets.synthetic.shape import Array, Face
from ferops.datasets.synthetic.skin import mix, textures

_VOLUME = {
    "short": 0.085,
    "crop": 0.022,
    "side": 0.11,
    "long": 0.085,
    "bob": 0.10,
    "curly": 0.19,
    "bald": 0.012,
    "tied": 0.040,
}
"""Thickness of the hair on top, in head units."""

_PARTING = {
    "short": 0.03,
    "crop": 0.02,
    "side": 0.04,
    "long": 0.12,
    "bob": 0.02,
    "curly": 0.03,
    "bald": 0.0,
    "tied": 0.04,
}
"""How much higher the hair starts in the middle of the forehead than above the brows' ends, in head units."""


def cover(face: Face, head: Head) -> Array:
    """Signed distance above the hairline in head units, `(ROWS, COLUMNS)`; hair grows where it is positive."""
    who, noise = face.who, textures(face.who.texture_seed)
    angle = np.abs(grid().azimuth)[None]
    front = who.hairline + 0.02 + _PARTING[who.hair_style] * np.cos(2.2 * angle)
    if who.hair_style == "side":
        front = front + 0.07 * np.sin(1.9 * grid().azimuth)[None]
    if who.hair_style == "short":
        front = front - 0.03 * np.cos(5 * angle)
    if who.hair_style == "bald":
        front = front + 0.55
    temple = step(angle, 0.75, 1.12)
    burn = step(angle, 1.18, 1.38)
    side_y = 0.34 if who.hair_style in ("short", "crop", "bald", "tied") else 0.26
    line = front * (1 - temple) + side_y * temple
    line = line * (1 - burn) + (-0.05 if not who.feminine else 0.02) * burn
    line = line * (1 - step(angle, 1.62, 1.9)) - 0.55 * step(angle, 1.62, 1.9)
    return np.asarray(head.rest_y - line + 0.010 * noise["curls"] + 0.006 * noise["locks"], np.float32)


def shell(face: Face, head: Head, growth: Array) -> Mesh:
    """Hair over the skull. Points without hair are left out."""
    who, noise = face.who, textures(face.who.texture_seed)
    style = who.hair_style
    rise = np.sqrt(step(growth, 0.0, 0.10 if who.hair_style in ("short", "side") else 0.20))
    lift = _VOLUME[style] * rise + 0.010
    texture = noise["curls"] if style == "curly" else noise["locks"]
    lift = (
        lift * (1 + (0.14 if style == "curly" else 0.10) * texture)
        + (0.022 if style == "curly" else 0.004) * noise["curls"] * rise
    )
    if style == "side":
        lift = lift + 0.06 * rise * bump(head.bx, head.rest_y, -0.25, 0.85, 0.5, 0.35)
    if style in ("short", "crop", "side", "bald") or style == "tied":
        lift = lift * (0.30 + 0.70 * step(head.rest_y, 0.15, 0.75))
    x, y, z = head.bx, head.rest_y - 0.15, head.bz
    length = np.sqrt(x * x + y * y + z * z) + 1e-6
    out = np.stack([x / length, y / length, z / length], -1)
    position = np.stack([x, head.rest_y, head.bz], -1) + out * lift[..., None]
    shade = _strands(face, noise, style)
    keep = growth > 0.012 * noise["pores"]
    return Mesh(
        position.astype(np.float32),
        shade,
        np.full(x.shape, 0.0, np.float32),
        keep,
        hair=True,
        finer=2 if style == "curly" else 1,
    )


def _strands(face: Face, noise: dict[str, Array], style: str) -> Array:
    fine = noise["hairs"] if style in ("curly", "crop") else noise["strands"]
    contrast = 0.20 if style != "curly" else 0.38
    shade = np.clip(1 + contrast * fine + 0.10 * noise["locks"], 0.25, 2.0)
    if style == "curly":
        shade = np.clip(shade + 0.22 * noise["curls"], 0.2, 2.0)
    return np.asarray(face.who.hair * shade[..., None], np.float32)


def curtain(face: Face) -> Mesh | None:
    """Long hair that hangs beside and behind the neck; None for other styles."""
    who, noise = face.who, textures(face.who.texture_seed)
    if who.hair_style not in ("long", "bob"):
        return None
    bottom = -1.75 if who.hair_style == "long" else -0.80
    rows = np.linspace(0.62, bottom, ROWS, dtype=np.float32)[:, None]
    around = np.linspace(1.02, 2 * np.pi - 1.02, COLUMNS, dtype=np.float32)[
        None
    ]  # from the right temple round the back
    fall = step(rows, 0.6, -0.3)
    width = (
        0.735 + 0.14 * np.sqrt(step(rows, 0.62, 0.25)) + 0.05 * fall - 0.12 * step(rows, bottom + 0.35, bottom)
    ) * who.face_width
    wave = 0.020 * noise["locks"] + 0.018 * np.sin(5.5 * rows + 3 * around)
    x = (width + wave) * np.sin(around)
    z = 0.62 * (0.9 + 0.3 * fall) * np.cos(around) - 0.16 + 0.04 * noise["locks"]
    y = rows + 0.05 * noise["locks"] * step(rows, bottom + 0.3, bottom)
    position = np.stack([x, y * np.ones_like(x), z], -1).astype(np.float32)
    edge = np.minimum(around - 1.02, 2 * np.pi - 1.02 - around)
    keep = (edge + 0.03 * noise["strands"]) > 0.06 * (1 + fall)
    colour = _strands(face, noise, "long") * (0.72 + 0.28 * step(np.abs(np.sin(around)), 0.5, 0.95))[..., None]
    return Mesh(
        position,
        np.asarray(colour, np.float32),
        np.zeros((ROWS, COLUMNS), np.float32),
        keep,
        hair=True,
    )


def roots(face: Face, growth: Array, colour: Array) -> Array:
    """Skin darkened under and just before the hairline, so that hair does not end in a cut edge."""
    share = step(growth, -0.05, 0.03) * (0.85 if face.who.hair_style != "bald" else 0.45)
    return mix(colour, face.who.hair * 0.9, share)
