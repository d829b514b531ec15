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

FEW, FOLDS = 1_000, 5
"""Below this many images a fifth of them says little: each is tested once, by as many models as there are folds."""

MIN_PEOPLE = FOLDS
"""Where people are named: a class shown by fewer could not be tested on somebody new in every fold."""

STEPS, MIN_EPOCHS, MAX_EPOCHS = 300, 6, 30
"""Optimiser steps that fine-tuning the starter gets, and the bounds of the epochs that this comes to."""

TIGHT_PX = 112
"""Images with a median side of at most this are taken for cut-out faces."""

_ON_TEST: dict[str, dict[str, Any]] = {
    "enough_samples": {"metric": "n", "reference": "absolute"},
    "beats_chance": {"metric": "accuracy.low", "reference": "chance"},
    "baseline": {"metric": "accuracy.low", "reference": "baseline", "at_least": 0.001},
    "calibration": {"metric": "candidate.calibration_error.value", "reference": "absolute"},
}
_CROSS_VALIDATED: dict[str, dict[str, Any]] = {
    "enough_samples": {"metric": "crossvalidation.n", "reference": "absolute"},
    "beats_chance": {"metric": "crossvalidation.candidate_minus_chance.accuracy.low", "reference": "absolute"},
    "baseline": {
        "metric": "crossvalidation.candidate_minus_baseline.accuracy.low",
        "reference": "absolute",
        "at_least": 0.001,
    },
    "calibration": {"metric": "crossvalidation.candidate.calibration_error.value", "reference": "absolute"},
}
"""What gates read where every face is tested."""

NO_GROUPS = "the images carry no annotations of people, so fairness between groups is not judged"


@dataclass(frozen=True)
class Facts:
    """What is known of the images: `classes` counts them by label, `people_of` the persons of each label where all its
    images name one, `side_px` is the median of their shorter sides, `people` how many persons they name (0: none),
    `groups` whether they describe people, `starter` the classes of the starter."""

    source: str
    classes: Mapping[str, int]
    people_of: Mapping[str, int]
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
    classes, left_out = _classes(facts)
    images = sum(facts.classes[name] for name in classes)
    folds = FOLDS if images < FEW else 0
    test, val = 0.20, 0.15  # a fold is a fifth, too
    train = int(images * (1 - test - val))
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
        "split": {"test_share": test, "val_share": val, "folds": folds, "test_fold": 0},
        "preprocess": {"tight_sources": [facts.source] if tight else []},
        "train": {"batch_size": batch, "every_fold": folds > 0},
        "models": {"baseline": trained if lacking else taken, "candidate": {"epochs": epochs}},
        "register": {
            "gates": _gates(folds, compared=not lacking),
            "overrides": {} if facts.groups else {"worst_slice": NO_GROUPS},
        },
    }
    reasons = [
        f"Classes   {', '.join(f'{name} ({facts.classes[name]})' for name in classes)}",
        *(f"          left out: {reason}" for reason in left_out),
        f"People    {_people(facts)}",
        f"Split     {_split(images, folds)}",
        f"Faces     {'kept whole where none is found' if tight else 'found and cut out'}: the images are "
        f"{facts.side_px:.0f} px (median)",
        f"Training  the starter's weights, {epochs} epochs in batches of {batch}: about {STEPS} steps"
        + (f", within {MIN_EPOCHS} to {MAX_EPOCHS} epochs" if epochs in (MIN_EPOCHS, MAX_EPOCHS) else "")
        + (f"; {folds} times, once without each fold" if folds else ""),
        f"Rival     {_rival(lacking)}",
        f"Gates     {_wanted(lacking)} 0), better than guessing, 30 {'' if folds else 'test '}faces",
        *([] if facts.groups else [f"          worst_slice is overridden: {NO_GROUPS}"]),
    ]
    return Plan(changes, reasons, compared=not lacking)


def _split(images: int, folds: int) -> str:
    if not folds:
        return "20% test, 15% validation: enough images for a fifth to say something"
    return (
        f"{folds} folds: {images} images are too few to test on some of them, so each is tested once, by a model that "
        "has not seen it; yours is that of fold 1"
    )


def _gates(folds: int, *, compared: bool) -> dict[str, dict[str, Any]]:
    """Return the gates; where the starter cannot be the rival, the model need only not be clearly worse than its own.

    That one is the same network with the same training, and shows whether the starter's weights did harm: to ask for
    more would withhold a good model because another is as good.
    """
    gates = dict(_CROSS_VALIDATED if folds else _ON_TEST)
    if not compared:
        metric = gates["baseline"]["metric"].removesuffix(".low") + ".high"
        gates["baseline"] = {**gates["baseline"], "metric": metric, "at_least": 0.0}
    return gates


def _classes(facts: Facts) -> tuple[list[str], list[str]]:
    """Return the classes that have enough images, known ones in their usual order first, and why not the others."""
    counts, people = facts.classes, facts.people_of
    ordered = [*(name for name in KNOWN_LABELS if name in counts), *sorted(set(counts) - set(KNOWN_LABELS))]
    left_out = {}
    for name in ordered:
        if counts[name] < MIN_PER_CLASS:
            left_out[name] = f"{name}, of which there are {counts[name]}; {MIN_PER_CLASS} are the least"
        elif people.get(name, MIN_PEOPLE) < MIN_PEOPLE:
            left_out[name] = f"{name}, shown by {people[name]} of the people; {MIN_PEOPLE} are the least"
    kept = [name for name in ordered if name not in left_out]
    if len(kept) < 2:
        shown = {name: f" of {people[name]} people" if name in people else "" for name in ordered}
        found = ", ".join(f"{name} ({counts[name]}{shown[name]})" for name in ordered) or "none"
        raise FeropsError(
            f"a model needs two classes with {MIN_PER_CLASS} images each, and of {MIN_PEOPLE} people where they are "
            f"named; found: {found}. Add images, or a folder for each class"
        )
    return kept, list(left_out.values())


def _people(facts: Facts) -> str:
    if facts.people:
        return f"{facts.people}, each in one split only"
    return "not named: if somebody is on several images, the figures are too good. Name them: --attributes"


def _wanted(lacking: Sequence[str]) -> str:
    than = "than the rival on the same faces (the interval of the paired difference"
    return f"not clearly worse {than} reaches" if lacking else f"better {than} is above"


def _rival(lacking: Sequence[str]) -> str:
    if not lacking:
        return "the starter as it is"
    return (
        f"the starter has no {', '.join(lacking)}, so there is no comparison with it; instead the same network, from "
        "face weights"
    )
