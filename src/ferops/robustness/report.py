"""The page reports/robustness/index.html."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ferops import pages
from ferops.formats import figure, interval
from ferops.records.robustness import RobustnessSummary
from ferops.robustness.conditions import worsened
from ferops.robustness.corruptions import SEVERITIES, Corruption

_FACE_PX = 56
KINDS = {
    "corruption": "The 15 corruptions of Hendrycks and Dietterich",
    "face": "What faces meet",
}


def words(name: str) -> str:
    """Return "gaussian noise" for gaussian_noise."""
    return name.replace("_", " ")


def page(summary: RobustnessSummary, face: NDArray[np.uint8], how: Mapping[str, Corruption], *, seed: int) -> str:
    """Return the page; `face` `(S, S, 3)` is shown in each condition of `how`."""
    return pages.render(
        "ferops.robustness",
        "report.html.j2",
        summary=summary,
        kinds=KINDS,
        strips={name: _strip(face, change, seed=seed) for name, change in how.items()},
        interval=interval,
        figure=figure,
        words=words,
        level=summary.provenance.params["evaluate"]["confidence_level"],
    )


def _strip(face: NDArray[np.uint8], change: Corruption, *, seed: int) -> str:
    """The face as it is and at each severity, side by side."""
    shown = [worsened(face, change, severity, np.random.default_rng(seed)) for severity in range(SEVERITIES)]
    strip = np.concatenate([face, *shown], axis=1)
    return pages.image_uri(strip, side_px=_FACE_PX * (SEVERITIES + 1), kind="jpeg")
