"""A grid of coloured points, and the parts of a portrait beside face and hair: ears, neck, clothes, glasses."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from ferops.datasets.synthetic.fields import ridge, step
from ferops.datasets.synthetic.shape import Array, Face


@dataclass(frozen=True)
class Mesh:
    """`position` and `colour` `(rows, columns, 3)`, `gloss` `(rows, columns)`, `keep` the points that exist.

    `light` is the share of ambient light that reaches each point (a scalar 1 where it was not worked out).
    """

    position: Array
    colour: Array
    gloss: Array
    keep: NDArray[np.bool_]
    hair: bool = False
    light: Array | float = 1.0
    finer: int = 1  # points are put between points this many times over, where a shape is stretched


def ears(face: Face, skin: Array) -> list[Mesh]:
    """Two discs with a rim and a hollow; `skin` is their colour, `(3,)`."""
    u = np.linspace(0, 1, 56, dtype=np.float32)[:, None]
    angle = np.linspace(0, 2 * np.pi, 150, dtype=np.float32)[None]
    shape_y = u * np.sin(angle) * np.where(np.sin(angle) > 0, 0.165, 0.175)
    shape_z = u * np.cos(angle) * (0.105 + 0.025 * np.sin(angle))
    rim = (
        0.040 * ridge(u - 0.86, 0.13)
        + 0.020 * ridge(u - 0.45, 0.2) * (np.cos(angle) < 0.3)
        - 0.03 * ridge(u - 0.2, 0.25)
    )
    dark = 1 - 0.50 * ridge(u - 0.25, 0.28) - 0.28 * ridge(u - 0.66, 0.08) * (np.sin(angle) > -0.5)
    tint = skin * np.array([1.02, 0.84, 0.80], np.float32)
    colour = (tint * dark[..., None]).astype(np.float32)
    result = []
    for sign in (-1.0, 1.0):
        out = 0.055 - 0.38 * shape_z + rim  # the back edge stands off the head
        x = sign * (0.69 * face.who.face_width + out)
        position = np.stack([x, 0.02 + shape_y - 0.10 * shape_z, shape_z - 0.13], -1).astype(np.float32)
        if sign > 0:
            position, colour_side = position[:, ::-1], colour[:, ::-1]
        else:
            colour_side = colour
        shape = position.shape[:2]
        result.append(Mesh(position, colour_side, np.full(shape, 0.4, np.float32), np.ones(shape, bool)))
    return result


def torso(face: Face, skin: Array, cloth: Array, *, neckline: str, rng: np.random.Generator) -> Mesh:
    """Neck, shoulders and clothes; `neckline` is one of "crew", "v", "collar"."""
    sections = np.array(
        [
            (-0.45, 0.40, 0.30),
            (-0.90, 0.39, 0.33),
            (-1.12, 0.42, 0.34),
            (-1.26, 0.60, 0.38),
            (-1.40, 0.95, 0.45),
            (-1.58, 1.28, 0.52),
            (-1.85, 1.42, 0.58),
            (-2.30, 1.45, 0.60),
        ]
    )
    rows = np.linspace(-0.45, -2.3, 230)
    width, depth = PchipInterpolator(-sections[:, 0], sections[:, 1:])(-rows).astype(np.float32).T
    size = 0.90 if face.who.feminine else 1.04
    angle = np.linspace(-1.75, 1.75, 430, dtype=np.float32)[None]
    x = size * width[:, None] * np.sin(angle)
    z = depth[:, None] * np.cos(angle) - 0.10
    y = np.broadcast_to(rows.astype(np.float32)[:, None], x.shape).copy()
    a = np.abs(x)
    cut = {
        "crew": -1.22 - 0.16 * np.cos(2 * angle),
        "v": -1.15 - 0.42 * np.maximum(0, 1 - a / 0.34),
        "collar": -1.10 - 0.26 * np.maximum(0, 1 - a / 0.20),
    }
    dressed = step(y, cut[neckline] + 0.008, cut[neckline] - 0.008)
    tendon = 0.02 * ridge(a - 0.13 - 0.10 * (y + 1.2), 0.05) * step(y, -0.8, -1.0)
    z = z + tendon + 0.05 * dressed
    weave = cv2.GaussianBlur(rng.standard_normal(x.shape).astype(np.float32), (0, 0), 1.0)
    creases = cv2.GaussianBlur(rng.standard_normal(x.shape).astype(np.float32), (0, 0), sigmaX=14, sigmaY=7)
    z = z + dressed * 0.35 * creases
    hem = ridge(y - cut[neckline] + 0.05, 0.010)
    fabric = cloth * (1 + 0.10 * weave / weave.std() - 0.30 * hem)[..., None]
    shade = 1 - 0.45 * step(y, -1.10, -0.80) * step(z, -0.2, 0.1)  # under the chin
    colour = skin * 0.95 * shade[..., None] * (1 - dressed[..., None]) + fabric * dressed[..., None]
    position = np.stack([x, y, z], -1).astype(np.float32)
    return Mesh(position, colour.astype(np.float32), 0.3 * (1 - dressed), np.ones(x.shape, bool))


def glasses(face: Face) -> list[Mesh]:
    """Two rims, a bridge and the arms, as tubes; empty for people without glasses."""
    who = face.who
    if not who.glasses:
        return []
    depth = 0.93
    angle = np.linspace(0, 2 * np.pi, 260, dtype=np.float32)
    power = 2.0 / who.frame_round
    ring_x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * 0.245
    ring_y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * 0.185
    rim_x, rim_y = _evenly(ring_x, ring_y)
    lines = []
    for sign in (-1, 1):
        wrap = -0.10 * np.maximum(np.abs(sign * 0.335 + rim_x) - 0.3, 0)
        lines.append(np.stack([sign * 0.335 + rim_x, 0.105 + rim_y, depth + wrap], -1))
        t = np.linspace(0, 1, 200)
        hinge, ear = (
            np.array([sign * 0.585, 0.17, depth - 0.04]),
            np.array([sign * 0.775 * who.face_width, 0.14, -0.10]),
        )
        middle = np.array([sign * 0.775, 0.17, depth - 0.20])
        lines.append((1 - t)[:, None] ** 2 * hinge + 2 * (t * (1 - t))[:, None] * middle + t[:, None] ** 2 * ear)
    t = np.linspace(-1, 1, 60)
    lines.append(np.stack([0.10 * t, 0.165 + 0.025 * (1 - t * t), depth + 0.03 * (1 - t * t)], -1))
    turn = np.linspace(0, 2 * np.pi, 9)[None, :, None]
    around = np.concatenate([np.cos(turn), np.sin(turn), 0.3 * np.sin(turn)], -1)
    meshes = []
    for line in lines:
        position = (line[:, None] + 0.0115 * around).astype(np.float32)
        shape = position.shape[:2]
        meshes.append(
            Mesh(
                position,
                np.broadcast_to(who.frame_colour, (*shape, 3)).copy(),
                np.full(shape, 0.7, np.float32),
                np.ones(shape, bool),
            )
        )

    return meshes


def _evenly(x: Array, y: Array) -> tuple[Array, Array]:
    """The same line with its points at equal distances, so that a tube along it has no gaps."""
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    even = np.linspace(0, travelled[-1], len(x))
    return np.interp(even, travelled, x), np.interp(even, travelled, y)
