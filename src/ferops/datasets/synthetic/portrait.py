"""One image of one person: pose, expression, light and camera drawn at random, then rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferops.datasets.synthetic import hair, head, mesh, render, scene, shape, skin
from ferops.datasets.synthetic.action_units import EMFACS, sample
from ferops.datasets.synthetic.identity import Identity
from ferops.datasets.synthetic.shape import EYE_Y, Array, Face


@dataclass(frozen=True)
class Portrait:
    """`pixels` uint8 `(size, size, 3)` RGB, `landmarks` float32 `(5, 2)` in pixels.

    Landmarks are left eye, right eye, nose tip, left and right mouth corner as seen in the image.
    """

    pixels: NDArray[np.uint8]
    landmarks: Array
    pose: render.Pose
    light: str
    intensity: float


def take(who: Identity, expression: str, *, seed: tuple[int, ...], size_px: int, light: str | None = None) -> Portrait:
    """Render one image; the same arguments give the same pixels. `light` is one of scene.LIGHTS, or random.

    Images that differ in `expression` alone share pose, light, camera and background.
    """
    rng = np.random.default_rng(seed)
    intensity = float(rng.uniform(0.35, 1.0))
    prototype, muscles = EMFACS[expression], np.random.default_rng((*seed, 17))
    units = sample(expression, intensity=intensity, rng=muscles)
    pose = render.Pose(
        yaw=float(np.clip(rng.normal(0, 13), -30, 30)),
        pitch=float(np.clip(rng.normal(0, 5), -12, 12)),
        roll=float(np.clip(rng.normal(0, 6), -15, 15)),
    )
    gaze = (float(np.clip(rng.normal(-pose.yaw / 45, 0.15), -0.5, 0.5)), float(rng.normal(0, 0.08)))
    name = light or str(rng.choice(scene.LIGHTS))
    lamp = scene.lamp(name, rng)
    side = int(muscles.integers(2)) if prototype.one_sided else None
    face = shape.build(who, units, gaze=gaze, only_side=side)
    camera = render.Camera(
        size=size_px,
        scale=size_px * float(rng.uniform(0.345, 0.390)),
        x=size_px * float(rng.normal(0.5, 0.02)),
        y=size_px * float(rng.normal(0.54, 0.015)),
    )
    pixels, landmarks = _expose(face, pose, lamp, camera, rng)
    return Portrait(
        pixels=pixels, landmarks=landmarks, pose=pose, light=name, intensity=intensity if prototype.core else 0.0
    )


def _expose(
    face: Face, pose: render.Pose, lamp: render.Light, camera: render.Camera, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Array]:
    who = face.who
    geometry = head.build(face)
    growth = hair.cover(face, geometry)
    colour, gloss = skin.paint(face, geometry)
    colour = hair.roots(face, growth, colour)
    turn, body = render.rotation(pose), render.rotation(pose, share=0.35)
    surface = np.stack([geometry.bx, geometry.by, geometry.z], -1)
    skin_mesh = mesh.Mesh(surface, colour, gloss, np.ones(gloss.shape, bool), light=head.cavity(geometry))
    parts = [skin_mesh, *mesh.ears(face, who.skin), *mesh.glasses(face), hair.shell(face, geometry, growth)]
    curtain = hair.curtain(face)
    if curtain is not None:
        parts.append(curtain)
    neckline = str(rng.choice(["crew", "v", "collar"]))
    clothes = mesh.torso(face, who.skin, scene.cloth(rng), neckline=neckline, rng=rng)
    meshes = [*parts, clothes]
    positions = [part.position @ turn for part in parts] + [clothes.position @ body]
    shadow = render.shadows(positions, [part.keep for part in meshes], lamp)
    drawn = [
        render.dots(part, position, render.shade(part, position, lamp, dark))
        for part, position, dark in zip(meshes, positions, shadow, strict=True)
    ]
    points, colours = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
    image = render.draw(points, colours, scene.background(camera.size, rng), camera)
    pixels = scene.develop(image, rng, exposure=_exposure(who))
    return pixels, _landmarks(face, geometry, turn, camera)


def _exposure(who: Identity) -> float:
    """Cameras expose dark skin longer, though not enough to make all skins alike."""
    return float(np.interp(who.skin_tone, [1, 5, 6, 10], [0.92, 1.05, 1.25, 2.4]))


def _landmarks(face: Face, geometry: head.Head, turn: Array, camera: render.Camera) -> Array:
    left, right = face.eyes
    mouth = face.mouth
    spots = [
        (-left.x, EYE_Y + (left.up - left.low) / 2),
        (right.x, EYE_Y + (right.up - right.low) / 2),
        (0.0, head.nose_tip_y(face)),
        (-mouth.half_width, mouth.y + mouth.corner[0]),
        (mouth.half_width, mouth.y + mouth.corner[1]),
    ]
    points = np.stack([head.point(geometry, x, y) for x, y in spots])
    return np.asarray(camera.project(points @ turn), np.float32)
