"""Counterfactual pairs: a rendered face, and the same face with another skin tone, age or glasses.

What a photograph cannot show, a renderer can: all else is equal. The faces are drawn, not photographed, so a change of
the answer shows that the network uses the attribute, and no change does not show that it never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.datasets.synthetic import EMFACS, identity, portrait
from ferops.datasets.synthetic.identity import Identity, changed
from ferops.evaluation.bootstrap import Resampler
from ferops.evaluation.metrics import ratio
from ferops.inference.predictor import Predictor
from ferops.records.fairness import Change

SIZE_PX = 192
SEED = 10_007
"""Added to the project's, so that these people are none of the rendered data set's."""

_LIGHT, _DARK = 2, 9  # Monk scale

CHANGES: dict[str, tuple[str, Callable[[Identity], Identity]]] = {
    "skin_tone": (
        "another skin tone, Monk 9 for light skin and Monk 2 for dark",
        lambda who: changed(who, skin_tone=_DARK if who.skin_tone <= 5 else _LIGHT),
    ),
    "age": (
        "another age, by its lines: older for the young and young for the others",
        lambda who: changed(who, age="older" if who.age == "young" else "young"),
    ),
    "glasses": ("glasses put on, or taken off", lambda who: changed(who, glasses=not who.glasses)),
}
CONTROL = "jpeg"
MEANINGS = {name: meaning for name, (meaning, _) in CHANGES.items()} | {
    CONTROL: "nothing but JPEG at quality 75: the control"
}


def answers(predictor: Predictor, count: int, *, seed: int) -> Iterator[pd.DataFrame]:
    """Yield the answers to `count` faces and their counterparts, face by face: a row for each change, with `person`,
    `expression`, `change`, `before` and `after`; no face is an answer, `no face`."""
    expressions = [name for name in predictor.config.classes if name in EMFACS]
    for number in range(count if expressions else 0):
        who = identity.draw(number, seed=seed + SEED)
        expression = expressions[number % len(expressions)]

        def take(person: Identity, expression: str = expression, number: int = number) -> NDArray[np.uint8]:
            return portrait.take(person, expression, seed=(seed + SEED, number), size_px=SIZE_PX).pixels

        first = take(who)
        images = [first, *(take(change(who)) for _, change in CHANGES.values()), _compressed(first)]
        before, *after = (found.faces[0].label if found.faces else "no face" for found in predictor.predict(images))
        yield pd.DataFrame(
            {"person": who.subject, "expression": expression, "change": [*MEANINGS], "before": before, "after": after}
        )


def changes(table: pd.DataFrame, *, samples: int, level: float, seed: int) -> tuple[Change, ...]:
    """Return how often each change changed the answer; people are drawn with replacement."""
    found = []
    for name, meaning in MEANINGS.items():
        rows = table[table["change"] == name]
        draws = Resampler(rows["person"].tolist(), samples=samples, seed=seed, level=level)
        other = (rows["before"] != rows["after"]).to_numpy(np.float64)
        hits, n = draws.totals(np.stack([other, np.ones(len(other))], axis=1), np.arange(len(other))).T
        found.append(
            Change(
                name=name,
                meaning=meaning,
                pairs=len(rows),
                people=draws.count,
                changed=draws.interval(ratio(hits, n), clusters=draws.count, reason="no pair was answered"),
            )
        )
    return tuple(found)


def _compressed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded just now
    return np.ascontiguousarray(decoded[..., ::-1]).astype(np.uint8, copy=False)
