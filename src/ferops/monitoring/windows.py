"""A window of traffic against the reference: which quantities differ by more than chance.

Tested are the share of images with a face and the measures of the face (input), the shares of the answers (prediction)
and the confidence: eight quantities. Benjamini and Hochberg's adjustment over all of them keeps the chance that
unchanged traffic is called drift, in any quantity, at ALPHA, 1 in 20 windows: where nothing differs, the rate of false
discoveries and the chance of any are the same. benchmarks/monitor.py measures it.
"""

from __future__ import annotations

import pandas as pd

from ferops.drift.shifts import adjusted, shift_of_numbers, shift_of_shares
from ferops.inference.measures import MEASURES
from ferops.records.drift import NumberShift, ShareShift

SOURCE = "traffic"
FOUND = "a face found"
ANSWERS = "answers"
CONFIDENCE = "confidence"
KINDS = {FOUND: "input", **dict.fromkeys(MEASURES, "input"), ANSWERS: "prediction", CONFIDENCE: "confidence"}
"""What drifts where a quantity does."""


def compare(reference: pd.DataFrame, window: pd.DataFrame) -> tuple[ShareShift | NumberShift, ...]:
    """Return the shifts of all quantities of KINDS, in its order.

    Args:
        reference, window: frames with `ferops.monitoring.read.COLUMNS`.
    """
    sides = (reference, window)
    shifts: list[ShareShift | NumberShift] = [
        shift_of_shares(
            *(side["answer"].notna().map({True: "yes", False: "no"}) for side in sides), source=SOURCE, quantity=FOUND
        )
    ]
    faces = [side[side["answer"].notna()] for side in sides]
    for name in MEASURES:
        shifts.append(shift_of_numbers(*(side[name] for side in faces), source=SOURCE, quantity=name))
    shifts.append(shift_of_shares(*(side["answer"] for side in faces), source=SOURCE, quantity=ANSWERS))
    shifts.append(shift_of_numbers(*(side[CONFIDENCE] for side in faces), source=SOURCE, quantity=CONFIDENCE))
    return adjusted(shifts)
