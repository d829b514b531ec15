"""What `ferops learn` decides from a look at the images: classes, epochs, splits, baseline and gates, each with why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ferops.classes import KNOWN_LABELS
from ferops.config import LABELS
from ferops.errors import FeropsError

MIN_PER_CLASS = 8
"""Fewer leave a class without an image in one of training, validation and test."""

FEW = 500
"""Below this many images a fifth of them says little: more go to the test split."""

STEPS, MIN_EPOCHS, MAX_EPOCHS = 300, 6, 30
"""Optimiser steps that fine-tuning the starter gets, and the bounds of the epochs that this comes to."""

TIGHT_PX = 112
"""Images with a median side of at most this are taken for cut-out faces."""

NO_GROUPS = "the images carry no annotations of people, so fairness between groups is not judged"


@dataclass(frozen=True)
class Facts:
    """What is known of the images: `classes` counts them by label, `side_px` is the median of their shorter sides,
    `people` how many persons they name (0: none), `groups` whether they describe people, `starter` the classes of the
    starter."""

    source: str
    classes: Mapping[str, int]
    side_px: float
    people: int
    groups: bool
    starter: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """The settings to change in the preset `own`, by block, and the reasons, in lines."""

    changes: dict[str, Any]
    reasons: list[str]
    compared: bool


def plan(facts: Facts) -> Plan:
    """Fit the preset `own` to the images.

    Raises:
        FeropsError: fewer than two classes have enough images.
    """
    classes, left_out = _classes(facts.classes)
    images = sum(facts.classes[name] for name in classes)
    test, val = (0.30, 0.15) if images < FEW else (0.20, 0.15)
    train = int(images * (1 - test) * (1 - val))
    batch = next(size for size in (32, 16, 8, 4) if train >= 4 * size or size == 4)
    epochs = int(np.clip(math.ceil(STEPS * batch / train), MIN_EPOCHS, MAX_EPOCHS))
    lacking = [name for name in classes if name not in facts.starter]
    trained = {"pretrained": "faces", "learns_from": LABELS, "epochs": max(1, epochs // 2)}
    taken = {"pretrained": None, "learns_from": "starter", "epochs": 0}
    tight = facts.side_px <= TIGHT_PX
    smallest = min(facts.classes[name] for name in classes)
    changes = {
        "data": {"sources": [facts.source], "classes": classes},
        "validate": {"label_review_folds": 5 if smallest >= 10 else 0},
        "split": {"test_share": test, "val_share": val},
        "preprocess": {"tight_sources": [facts.source] if tight else []},
        "train": {"batch_size": batch},
        "models": {"baseline": trained if lacking else taken, "candidate": {"epochs": epochs}},
        "register": {"overrides": {} if facts.groups else {"worst_slice": NO_GROUPS}},
    }
    reasons = [
        f"Classes   {', '.join(f'{name} ({facts.classes[name]})' for name in classes)}",
        *(
            f"          left out: {name}, of which there are {facts.classes[name]}; {MIN_PER_CLASS} are the least"
            for name in left_out
        ),
        f"People    {_people(facts)}",
        f"Split     {test:.0%} test, {val:.0%} validation, no folds: "
        + ("with few images, more go to the test" if images < FEW else "enough images for a fifth to say something"),
        f"Faces     {'kept whole where none is found' if tight else 'found and cut out'}: the images are "
        f"{facts.side_px:.0f} px (median)",
        f"Training  the starter's weights, {epochs} epochs in batches of {batch}: about {STEPS} steps"
        + (f", within {MIN_EPOCHS} to {MAX_EPOCHS} epochs" if epochs in (MIN_EPOCHS, MAX_EPOCHS) else ""),
        f"Rival     {_rival(lacking)}",
        "Gates     better than the rival on the same test faces (the interval of the paired difference is above 0), "
        "better than guessing, 30 test faces",
        *([] if facts.groups else [f"          worst_slice is overridden: {NO_GROUPS}"]),
    ]
    return Plan(changes, reasons, compared=not lacking)


def _classes(counts: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Return the classes that have enough images, known ones in their usual order first, and the others."""
    ordered = [*(name for name in KNOWN_LABELS if name in counts), *sorted(set(counts) - set(KNOWN_LABELS))]
    kept = [name for name in ordered if counts[name] >= MIN_PER_CLASS]
    if len(kept) < 2:
        found = ", ".join(f"{name} ({counts[name]})" for name in ordered) or "none"
        raise FeropsError(
            f"a model needs two classes with {MIN_PER_CLASS} images each, found: {found}. Add images, or a folder for "
            "each class"
        )
    return kept, [name for name in ordered if name not in kept]


def _people(facts: Facts) -> str:
    if facts.people:
        return f"{facts.people}, each in one split only"
    return "not named: if somebody is on several images, the figures are too good. Name them: --attributes"


def _rival(lacking: Sequence[str]) -> str:
    if not lacking:
        return "the starter as it is"
    return (
        f"the starter has no {', '.join(lacking)}, so there is no comparison with it; instead the same network, from "
        "face weights"
    )
