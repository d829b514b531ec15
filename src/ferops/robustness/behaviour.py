"""Behaviour tests: what must change nothing, and what must not be answered, through the Predictor on whole images.

After M. T. Ribeiro, T. Wu, C. Guestrin and S. Singh, "Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList", ACL 2020: the invariance tests need no label, the last two are minimum functionality tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.metrics import ratio
from ferops.inference.prediction import Prediction
from ferops.inference.predictor import Predictor
from ferops.records.metrics import Interval
from ferops.records.robustness import Behaviour

Image = NDArray[np.uint8]


def _shifted(image: Image) -> Image:
    return np.pad(image, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]


def _times(factor: float) -> Callable[[Image], Image]:
    return lambda image: np.rint(np.clip(image * np.float32(factor), 0, 255)).astype(np.uint8)


def _grey(image: Image) -> Image:
    luma = image @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JPEG has it
    return np.repeat(np.rint(luma).astype(np.uint8)[..., None], 3, axis=2)


INVARIANCES: dict[str, tuple[str, Callable[[Image], Image]]] = {
    "mirrored": ("a mirrored image has the same answer", lambda image: image[:, ::-1]),
    "shifted": ("an image moved by one pixel has the same answer", _shifted),
    "brighter": ("an image 15 % brighter has the same answer", _times(1.15)),
    "darker": ("an image 15 % darker has the same answer", _times(0.85)),
    "grey": ("an image without colour has the same answer", _grey),
}

UPSIDE_DOWN = "an image on its head is not answered as if it were upright: it goes to a person, or is turned first"
NEUTRAL = "a face labelled neutral is not answered anger with the status ok"


def behave(predictor: Predictor, images: Sequence[Image]) -> dict[str, NDArray[np.float64]]:
    """Return by behaviour whether it passed, 0 or 1 `(N,)`; NaN for images without a face to begin with."""
    first = _ask(predictor, images)
    labels = [_label(each) for each in first]
    passed = {}
    for name, (_, change) in INVARIANCES.items():
        changed = _ask(predictor, map(change, images))
        passed[name] = np.array([_same(label, _label(found)) for label, found in zip(labels, changed, strict=True)])
    turned = _ask(predictor, (image[::-1, ::-1] for image in images))
    passed["upside_down"] = np.array(
        [
            np.nan if label is None else float(found.rotation == 180 or not _is_ok(found))
            for label, found in zip(labels, turned, strict=True)
        ]
    )
    return passed


def not_anger(predictor: Predictor, images: Sequence[Image]) -> NDArray[np.float64]:
    """Return whether neutral faces are not taken for angry ones, 0 or 1 `(N,)`; NaN for images without a face."""
    return np.array(
        [
            np.nan if _label(found) is None else float(not (_is_ok(found) and _label(found) == "anger"))
            for found in _ask(predictor, images)
        ]
    )


def behaviour(name: str, meaning: str, passed: NDArray[np.float64], resampler: Resampler, *, reason: str) -> Behaviour:
    """Return the share of the images that passed, `(N,)`; `resampler` draws their clusters."""
    rows = np.flatnonzero(np.isfinite(passed))
    hits, n = resampler.totals(np.stack([passed[rows], np.ones(len(rows))], axis=1), rows).T
    found: Interval = resampler.interval(ratio(hits, n), clusters=resampler.clusters_in(rows), reason=reason)
    return Behaviour(name=name, meaning=meaning, n=len(rows), passed=found)


def _ask(predictor: Predictor, images: object) -> list[Prediction]:
    return predictor.predict([np.ascontiguousarray(image) for image in images])  # type: ignore[attr-defined]


def _label(found: Prediction) -> str | None:
    return found.faces[0].label if found.faces else None


def _is_ok(found: Prediction) -> bool:
    return bool(found.faces) and found.faces[0].status == "ok"


def _same(label: str | None, other: str | None) -> float:
    return np.nan if label is None else float(label == other)
