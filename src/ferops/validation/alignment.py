"""How much two small grey pictures are one picture, after the best small movement of one onto the other."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]

STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 15, 1e-3)
ALIGN_BLUR_PX = 3
MIN_ALIGNED = 0.85
"""Pictures whose plain correlation after alignment is lower are not looked at in detail: no copy among 4,800 had less
than 0.93."""
MIN_OVERLAP = 0.7
"""Alignment that leaves less of the picture in common has gone astray."""
FINE_PX, COARSE_PX = 0.8, 2.0
"""The band of detail that tells faces apart: light and a face's outline are coarser, noise and artefacts finer."""


def similarity(a: Grey, b: Grey, *, mirrored: bool) -> float:
    """Return the correlation of the detail of two grey pictures of one size, uint8 `(S, S)`: -1 to 1; 1 is a copy.

    `b`, mirrored first if asked, is moved onto `a` by the affine map that maximises the enhanced correlation
    coefficient (Evangelidis and Psarakis, TPAMI 2008; cv2.findTransformECC). What is compared is the difference of two
    Gaussian blurs, where they overlap, so brightness and contrast play no part. 0 where no alignment is found.
    """
    first = a.astype(np.float32)
    second = np.ascontiguousarray(b[:, ::-1] if mirrored else b, dtype=np.float32)
    whole = np.full(second.shape, 255, dtype=np.uint8)
    try:
        aligned, warp = cv2.findTransformECC(
            first, second, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, STOP, whole, ALIGN_BLUR_PX
        )
    except cv2.error as error:
        if error.code == cv2.Error.StsNoConv:
            return 0.0
        raise
    if not aligned >= MIN_ALIGNED:
        return 0.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = first.shape[::-1]
    inside = cv2.warpAffine(np.ones_like(first), warp, size, flags=flags) > 0.99
    if inside.mean() < MIN_OVERLAP:
        return 0.0
    moved = cv2.warpAffine(second, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return _correlation(_detail(first)[inside], _detail(np.asarray(moved, dtype=np.float32))[inside])


def _detail(picture: Floats) -> Floats:
    fine = cv2.GaussianBlur(picture, (0, 0), FINE_PX)
    return np.asarray(fine - cv2.GaussianBlur(picture, (0, 0), COARSE_PX), dtype=np.float32)


def _correlation(x: Floats, y: Floats) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return min(float(x @ y) / scale, 1.0) if scale > 0 else 0.0
