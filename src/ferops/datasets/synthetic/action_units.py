"""Facial action units, and the combinations that make the expressions.

Sources: Ekman, Friesen & Hager (2002), Facial Action Coding System, for the units and the intensity scale A-E;
Friesen & Ekman (1983), EMFACS-7, for the combinations. The letters are
placed on a 0-1 range by us; FACS itself only orders them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACTION_UNITS = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
}
"""Number and name of every unit that the renderer knows."""

FACS_LEVELS = {"A": 0.1, "B": 0.3, "C": 0.5, "D": 0.75, "E": 1.0}
"""FACS intensity letters (trace, slight, marked, severe, maximum) on the renderer's 0-1 range."""


@dataclass(frozen=True)
class Prototype:
    """Units that always take part in an expression, and those that may join it."""

    core: tuple[int, ...]
    optional: tuple[int, ...] = ()
    one_sided: bool = False


EMFACS = {
    "anger": Prototype(core=(4, 5, 7, 23), optional=(24,)),
    "disgust": Prototype(core=(9, 15, 16), optional=(10,)),
    "fear": Prototype(core=(1, 2, 4, 5, 7, 20, 26)),
    "happy": Prototype(core=(6, 12), optional=(25,)),
    "sad": Prototype(core=(1, 4, 15), optional=(17,)),
    "surprised": Prototype(core=(1, 2, 5, 26), optional=(27,)),
    "neutral": Prototype(core=()),
    "contempt": Prototype(core=(12, 14), one_sided=True),
}
"""Expression -> combination of units, keyed by `ferops.classes.KNOWN_LABELS`."""

_OPTIONAL_SHARE = 0.65
_STRAY = tuple(unit for unit in ACTION_UNITS if unit not in (14, 25, 26, 27))
"""Units that may be active as a trace. The others would change the expression."""
_BALANCE = {
    ("fear", 1): 0.85,
    ("fear", 2): 0.6,
    ("fear", 7): 0.6,
    ("fear", 26): 0.55,
    ("anger", 5): 0.55,
    ("sad", 4): 0.75,
}
"""Units that take part more weakly than the others, so that two units on one muscle group both stay visible."""


def sample(expression: str, *, intensity: float, rng: np.random.Generator) -> dict[int, float]:
    """Draw the activation (0-1) of each unit for one image.

    Core units vary by about 15 % around `intensity` (0-1); optional units join in two images of three; one unit from
    outside the combination may be active as a trace (FACS A), as people are rarely textbook cases.
    """
    prototype = EMFACS[expression]
    active = list(prototype.core) + [unit for unit in prototype.optional if rng.random() < _OPTIONAL_SHARE]
    units = {
        unit: float(np.clip(intensity * _BALANCE.get((expression, unit), 1.0) * rng.normal(1.0, 0.15), 0.1, 1.0))
        for unit in active
    }
    stray = int(rng.choice(_STRAY))
    units.setdefault(stray, float(rng.uniform(0.0, 1.5 * FACS_LEVELS["A"])))
    return units
