"""The rows of the synthetic data set."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode, header_size
from ferops.datasets.synthetic import identity, portrait, scene
from ferops.datasets.synthetic.flaws import flawed
from ferops.errors import FeropsError

JPEG_QUALITY = 90
"""About 5 kB a picture of 160 px: the embedded set has to stay small enough to live in the repository."""


def rows(
    *, seed: int, identities: int = 50, images_per_identity: int = 30, size_px: int = 160
) -> Iterator[dict[str, Any]]:
    """Render the data set, in a fixed order: person by person, the expressions in turn, then 16 deliberately bad rows.

    Each row has the columns of raw data (`image_id`, `image`, `label`, `source`, `usage`, `subject`, `group_skin_tone`
    "monk_01".."monk_10", `group_age` "young", "middle" or "older", `group_glasses` "yes" or "no", `width`, `height`)
    and what the renderer knows: `truth_yaw_degrees` (positive: turned to the right of the picture),
    `truth_pitch_degrees` (positive: looking up), `truth_roll_degrees` (positive: clockwise), `truth_intensity` (0-1),
    `truth_light` (one of scene.LIGHTS) and `truth_landmarks` (10 floats, x and y in pixels of left eye, right eye, nose
    tip, left and right mouth corner as seen in the picture). Truth is null in bad rows. One person in five has usage
    "test", one of every skin tone among 50; no test person is in "train". The same arguments give the same bytes.

    Raises:
        FeropsError: `images_per_identity` is no multiple of 6, `identities` is below 1, or `size_px` is below 96.
    """
    if images_per_identity < len(DEFAULT_CLASSES) or images_per_identity % len(DEFAULT_CLASSES):
        raise FeropsError(
            f"images_per_identity is {images_per_identity}; every person shows each of the "
            f"{len(DEFAULT_CLASSES)} expressions equally often, so choose a multiple of {len(DEFAULT_CLASSES)}"
        )
    if identities < 1 or size_px < 96:
        raise FeropsError(
            f"found identities {identities} and size_px {size_px}; at least 1 person and 96 px are needed for a face"
        )
    train: list[dict[str, Any]] = []
    for index in range(identities):
        who = identity.draw(index, seed=seed)
        for number in range(images_per_identity):
            row = _good(who, number, index=index, seed=seed, size_px=size_px)
            if row["usage"] == "train":
                train.append(row)
            yield row
    yield from flawed(train, seed=seed, size_px=size_px)


def _good(who: identity.Identity, number: int, *, index: int, seed: int, size_px: int) -> dict[str, Any]:
    label = DEFAULT_CLASSES[number % len(DEFAULT_CLASSES)]
    picture = portrait.take(who, label, seed=(seed, index, number), size_px=size_px)
    image = scene.jpeg(picture.pixels, quality=JPEG_QUALITY)
    width, height = header_size(image)
    return {
        "image_id": hashlib.sha256(image).hexdigest(),
        "image": image,
        "label": label,
        "source": "synthetic",
        "usage": "test" if (index + index // 10) % 5 == 4 else "train",
        "subject": who.subject,
        "group_skin_tone": f"monk_{who.skin_tone:02d}",
        "group_age": who.age,
        "group_glasses": "yes" if who.glasses else "no",
        "width": width,
        "height": height,
        "truth_yaw_degrees": picture.pose.yaw,
        "truth_pitch_degrees": picture.pose.pitch,
        "truth_roll_degrees": picture.pose.roll,
        "truth_intensity": picture.intensity,
        "truth_light": picture.light,
        "truth_landmarks": [float(value) for value in picture.landmarks.reshape(-1)],
    }


def contact_sheet(pictures: Iterable[bytes], *, columns: int = 10) -> bytes:
    """Encoded pictures of one size side by side as one PNG; the last line is filled up with black."""
    decoded: list[NDArray[np.uint8]] = [decode(picture) for picture in pictures]
    decoded += [np.zeros_like(decoded[0])] * (-len(decoded) % columns)
    lines = [np.concatenate(decoded[start : start + columns], axis=1) for start in range(0, len(decoded), columns)]
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(lines, axis=0)).save(stream, "PNG")
    return stream.getvalue()
