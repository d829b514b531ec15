"""The faces of many images as the network sees them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ferops.datasets.images import UnreadableImageError
from ferops.inference.predictor import Predictor
from ferops.inference.sources import read


def crops_of(predictor: Predictor, names: Iterable[str]) -> NDArray[np.uint8]:
    """Return the aligned faces, uint8 `(N, S, S, 3)`, of the readable images among `names`; N may be 0."""
    size_px = predictor.config.size_px
    found = [np.empty((0, size_px, size_px, 3), np.uint8)]
    for name in names:
        try:
            photo = read(name)
        except (UnreadableImageError, OSError):
            continue
        found += [face.crop[None] for face in predictor.predict(photo, crops=True).faces if face.crop is not None]
    return np.concatenate(found)
