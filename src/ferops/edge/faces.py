"""Rendered faces to compare a model's files on, where no photographs are given."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferops.classes import DEFAULT_CLASSES
from ferops.config import FaceSettings
from ferops.datasets.synthetic import identity, portrait
from ferops.faces.align import align

RENDERED = 24
"""Four people with six expressions each: a few seconds."""


def rendered_faces(settings: FaceSettings, *, count: int = RENDERED) -> NDArray[np.uint8]:
    """Return the same RGB faces at every call, uint8 `(count, S, S, 3)`, aligned as `settings` say."""
    faces = []
    for number in range(count):
        who = identity.draw(number // len(DEFAULT_CLASSES), seed=0)
        label = DEFAULT_CLASSES[number % len(DEFAULT_CLASSES)]
        shot = portrait.take(who, label, seed=(0, number), size_px=160)
        faces.append(
            align(shot.pixels, shot.landmarks, size_px=settings.size_px, margin=settings.margin, fit=settings.align)
        )
    return np.stack(faces)
