"""From meshes to pixels: pose, light, shadow, and points drawn into a depth buffer at twice the size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ferops.datasets.synthetic.mesh import Mesh
from ferops.datasets.synthetic.shape import Array

_OVERSAMPLE = 2
_CAMERA_DISTANCE = 7.5  # head units: a portrait lens, some three head heights away


@dataclass(frozen=True)
class Pose:
    """Degrees. Yaw turns the face to the right of the image, pitch up, roll clockwise."""

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class Light:
    """`direction` points from the face to the lamp; colours are linear RGB."""

    name: str
    direction: Array
    colour: Array
    ambient: Array


@dataclass(frozen=True)
class Camera:
    """`scale` pixels per head unit at the head's centre, which lies at (`x`, `y`) pixels of a `size` px square."""

    size: int
    scale: float
    x: float
    y: float

    def project(self, points: Array) -> Array:
        """`(..., 3)` to pixels `(..., 2)`, x right and y down."""
        near = _CAMERA_DISTANCE / (_CAMERA_DISTANCE - points[..., 2])
        return np.stack([self.x + self.scale * near * points[..., 0], self.y - self.scale * near * points[..., 1]], -1)


def rotation(pose: Pose, *, share: float = 1.0) -> Array:
    """Matrix `(3, 3)` for row vectors; `share` scales the turn (the shoulders follow the head only in part)."""
    yaw, pitch, roll = np.deg2rad([pose.yaw, -pose.pitch, -pose.roll]) * share
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray((about_z @ about_x @ about_y).T, np.float32)


def cross(first: Array, second: Array) -> Array:
    """np.cross for `(..., 3)` arrays, several times faster."""
    (a, b, c), (d, e, f) = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    return np.stack([b * f - c * e, c * d - a * f, a * e - b * d], -1)


def normals(position: Array) -> Array:
    """Unit normals of a grid, outwards for columns that run to the right and rows that run down."""
    down = np.gradient(position, axis=0)
    right = np.gradient(position, axis=1)
    normal = cross(down, right)

    length = np.sqrt(np.einsum("ijk,ijk->ij", normal, normal)) + np.float32(1e-9)
    return np.asarray(normal / length[..., None], np.float32)


def shade(mesh: Mesh, position: Array, light: Light, shadow: Array) -> Array:
    """Colour of each point. Red light wraps further round skin than blue: a stand-in for subsurface scattering."""

    normal = normals(position)
    lamp = light.direction / np.linalg.norm(light.direction)
    facing = normal @ lamp
    view = np.array([0, 0, 1], np.float32)
    half = (lamp + view) / np.linalg.norm(lamp + view)
    open_sky = (0.72 + 0.28 * normal[..., 1])[..., None] * np.asarray(mesh.light, np.float32).reshape(
        *np.shape(mesh.light), 1
    )
    if mesh.hair:
        strand = np.gradient(position, axis=0)
        strand = strand / (np.sqrt(np.einsum("ijk,ijk->ij", strand, strand)) + np.float32(1e-9))[..., None]
        along = np.clip(1 - (strand @ half) ** 2, 0, 1)
        shine = (0.045 * along**40 + 0.020 * along**10) * np.clip(facing + 0.4, 0, 1) * (0.4 + mesh.colour.mean(-1) * 8)
        diffuse = np.clip((facing + 0.4) / 1.4, 0, 1)[..., None]
    else:
        gloss = np.clip(normal @ half, 0, 1)
        rim = np.clip(1 - normal[..., 2], 0, 1) ** 3
        shine = mesh.gloss * (0.055 * gloss**14 + 0.050 * gloss**45 + 0.020 * rim * np.clip(facing, 0, 1))
        wrap = np.array([0.38, 0.24, 0.18], np.float32)
        diffuse = np.clip((facing[..., None] + wrap) / (1 + wrap), 0, 1)
    lit = shadow[..., None]
    result = mesh.colour * (light.ambient * open_sky + light.colour * diffuse * lit) + (
        light.colour * shine[..., None]
    ) * (0.3 + 0.7 * lit)
    return np.asarray(result, np.float32)


def shadows(positions: Sequence[Array], keeps: Sequence[NDArray[np.bool_]], light: Light) -> list[Array]:
    """Share of the lamp's light that reaches each point, 0.25-1, from a coarse depth map seen from the lamp."""
    lamp = light.direction / np.linalg.norm(light.direction)
    side = np.cross([0.0, 1.0, 0.0], lamp)
    side = side / np.linalg.norm(side)
    axes = np.stack([side, np.cross(lamp, side), lamp]).astype(np.float32)
    cells, extent = 150, 1.7
    depth = np.full(cells * cells, -9.0, np.float32)
    seen = []
    for position, keep in zip(positions, keeps, strict=True):
        local = position.reshape(-1, 3) @ axes.T
        cell = np.clip(((local[:, :2] + extent) * (cells / (2 * extent))).astype(np.int32), 0, cells - 1)
        index = cell[:, 1] * cells + cell[:, 0]
        use = keep.reshape(-1)
        np.maximum.at(depth, index[use], local[use, 2])
        seen.append((index, local[:, 2]))
    plane = depth.reshape(cells, cells)
    plane = np.where(plane < -8, cv2.dilate(plane, np.ones((3, 3), np.uint8)), plane)
    soft = cv2.GaussianBlur(plane, (0, 0), 2.0)
    return [
        np.asarray(1 - 0.62 * np.clip((soft.reshape(-1)[index] - height - 0.06) / 0.16, 0, 1), np.float32).reshape(
            position.shape[:2]
        )
        for (index, height), position in zip(seen, positions, strict=True)
    ]


def dots(mesh: Mesh, position: Array, colour: Array) -> tuple[Array, Array]:
    """The points of a mesh that exist and their colours, each `(n, 3)`."""
    if mesh.finer == 1:
        return position[mesh.keep], colour[mesh.keep]
    rows, columns = mesh.keep.shape
    size = (columns * mesh.finer, rows * mesh.finer)
    keep = cv2.resize(mesh.keep.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    return cv2.resize(position, size)[keep], cv2.resize(colour, size)[keep]


def draw(points: Array, colours: Array, background: Array, camera: Camera) -> Array:
    """Draw points `(n, 3)` with colours `(n, 3)` over `background` `(size, size, 3)`; the nearest point wins."""
    size = camera.size * _OVERSAMPLE
    pixel = camera.project(points) * _OVERSAMPLE
    corner = np.floor(pixel - 0.5).astype(np.int32)
    inside = ((corner >= 0) & (corner < size - 1)).all(-1)
    corner, depth, colours = corner[inside], points[inside, 2], colours[inside]
    order = np.argsort(depth)
    flat = (corner[:, 1] * size + corner[:, 0])[order]
    best = np.full(size * size, -9.0, np.float32)
    winner = np.full(size * size, -1, np.int32)
    for offset in (0, 1, size, size + 1):  # each point covers 2 x 2 cells, so that stretched parts have no holes
        layer = np.full(size * size, -1, np.int32)
        layer[flat + offset] = order
        found = layer >= 0
        height = np.where(found, depth[layer], -9.0)
        closer = height > best
        best = np.where(closer, height, best)
        winner = np.where(closer, layer, winner)
    canvas = cv2.resize(background, (size, size), interpolation=cv2.INTER_LINEAR).reshape(-1, 3)
    hit = winner >= 0
    canvas[hit] = colours[winner[hit]]
    return np.asarray(
        cv2.resize(canvas.reshape(size, size, 3), (camera.size, camera.size), interpolation=cv2.INTER_AREA)
    )
