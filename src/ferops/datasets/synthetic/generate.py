"""The rows of the synthetic data set."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ferops.classes import DEFAULT_CLASSES, KNOWN_LABELS
from ferops.datasets.images import decode
from ferops.datasets.manifest import make_row
from ferops.datasets.synthetic import identity, portrait, scene
from ferops.datasets.synthetic.flaws import altered_copies, flawed
from ferops.errors import FeropsError

JPEG_QUALITY = 90
"""About 6 kB an image of 160 px: the embedded set has to stay small enough to live in the repository."""

_OTHERS = tuple(label for label in KNOWN_LABELS if label not in DEFAULT_CLASSES)


def rows(
    *, seed: int, identities: int = 50, images_per_expression: int = 5, size_px: int = 160
) -> Iterator[dict[str, Any]]:
    """Render the data set in a fixed order: person by person, each of KNOWN_LABELS `images_per_expression` times, then
    16 deliberately bad rows and 8 altered copies (`flaws`).

    Each row has the columns of raw data (`image_id`, `image`, `label`, `source`, `usage`, `subject`, `group_skin_tone`
    "monk_01".."monk_10", `group_age` "young", "middle" or "older", `group_glasses` "yes" or "no", `width`, `height`)
    and what the renderer knows: `truth_yaw_degrees` (positive: turned to the right of the image),
    `truth_pitch_degrees` (positive: looking up), `truth_roll_degrees` (positive: clockwise), `truth_intensity` (0-1; 0
    for neutral), `truth_light` (one of scene.LIGHTS) and `truth_landmarks` (10 floats, x and y in pixels of left eye,
    right eye, nose tip, left and right mouth corner as seen in the image). Truth is null in bad rows and copies. One
    person in five has usage "test", one of every skin tone among 50; no test person is in "train". The same arguments
    give the same bytes.

    Raises:
        FeropsError: `images_per_expression` or `identities` is below 1, or `size_px` is below 96.
    """
    if images_per_expression < 1 or identities < 1 or size_px < 96:
        raise FeropsError(
            f"found identities {identities}, images_per_expression {images_per_expression} and size_px {size_px}; at "
            "least 1 person, 1 image and 96 px are needed for a face"
        )
    # The default classes first, so that their images do not depend on which others there are
    labels = DEFAULT_CLASSES * images_per_expression + _OTHERS * images_per_expression
    train: list[dict[str, Any]] = []
    for index in range(identities):
        who = identity.draw(index, seed=seed)
        for number, label in enumerate(labels):
            row = _portrait(who, label, index=index, seed=(seed, index, number), size_px=size_px)
            if row["usage"] == "train" and label in DEFAULT_CLASSES:
                train.append(row)
            yield row
    yield from flawed(train, seed=seed, size_px=size_px)
    yield from altered_copies(train)


def _portrait(
    who: identity.Identity, label: str, *, index: int, seed: tuple[int, int, int], size_px: int
) -> dict[str, Any]:
    shot = portrait.take(who, label, seed=seed, size_px=size_px)
    return make_row(
        scene.jpeg(shot.pixels, quality=JPEG_QUALITY),
        source="synthetic",
        label=label,
        usage="test" if (index + index // 10) % 5 == 4 else "train",
        subject=who.subject,
        group_skin_tone=f"monk_{who.skin_tone:02d}",
        group_age=who.age,
        group_glasses="yes" if who.glasses else "no",
        truth_yaw_degrees=shot.pose.yaw,
        truth_pitch_degrees=shot.pose.pitch,
        truth_roll_degrees=shot.pose.roll,
        truth_intensity=shot.intensity,
        truth_light=shot.light,
        truth_landmarks=[float(value) for value in shot.landmarks.reshape(-1)],
    )


def contact_sheet(images: Iterable[bytes], *, columns: int = 10) -> bytes:
    """Encoded images of one size side by side as one PNG; the last line is filled up with black."""
    decoded: list[NDArray[np.uint8]] = [decode(image) for image in images]
    decoded += [np.zeros_like(decoded[0])] * (-len(decoded) % columns)
    lines = [np.concatenate(decoded[start : start + columns], axis=1) for start in range(0, len(decoded), columns)]
    stream = io.BytesIO()
    Image.fromarray(np.concatenate(lines, axis=0)).save(stream, "PNG")
    return stream.getvalue()
