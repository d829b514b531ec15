"""The reference system's recipe on a split by cluster, and on a random one that shares copies and people, as its own.

Six classes of FER2013 without PublicTest; as many training and validation faces in both splits, by the same recipe.
What the random split finds above the other is what its leaks are worth; PublicTest, which neither knows, is the check.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import judge
import numpy as np
from fitting import Recipe, Trainer, plain_logits
from numpy.typing import NDArray
from packed import Pack, Split
from parts import Job

from ferops.classes import DEFAULT_CLASSES
from ferops.training.evaluator import scores

RECIPE = Recipe("resnet50", None, 224, "reference", 6, {"batch_size": 64, "checkpoint_every": 1000})
"""Its steps of 64 faces in one micro-batch instead of four: batch normalisation sees 64 at a time."""


def reference(kind: str, job: Job) -> dict[str, Any]:
    """Train on the split of this kind, `by_cluster` or `random`; return figures of its validation and of PublicTest."""
    six = six_classes(job.pack)
    train, validation = leaking(six) if kind == "random" else (six.splits["train"], six.splits["val"])
    recipe = RECIPE
    if job.tiny:
        recipe = replace(RECIPE, architecture="test_resnet", size_px=64, changes={**RECIPE.changes, "batch_size": 8})
    trainer = Trainer(recipe, train, validation, classes=six.classes)
    trained = trainer.train(until=job.until, together=job.together, epochs=1 if job.tiny else None)
    device = trainer.precision.device
    own = scores(validation.labels, plain_logits(trained.net, trainer.validation, device))
    test = plain_logits(trained.net, six.splits["test"].faces(recipe.size_px), device)
    return {
        **trained.figures,
        "train_faces": len(train),
        "own_validation": {"n": len(validation), "accuracy": own[0], "macro_f1": own[1]},
        "public_test": judge.judge(six, "test", test)["labels"],
    }


def six_classes(pack: Pack) -> Pack:
    """Return FER2013's faces of the six classes, labelled 0 to 5."""
    six = [pack.classes.index(name) for name in DEFAULT_CLASSES]
    number = np.full(len(pack.classes), -1)
    number[six] = np.arange(len(six))

    def only(split: Split) -> Split:
        chosen = split[(number[split.labels] >= 0) & (split.sources != pack.about["photographs"])]
        return replace(chosen, labels=number[chosen.labels], votes=chosen.votes[:, six])

    splits = {name: only(split) for name, split in pack.splits.items()}
    return Pack(splits, {**pack.about, "classes": list(DEFAULT_CLASSES)})


def leaking(six: Pack) -> tuple[Split, Split]:
    """Return training and validation faces of a random split by rows, the exact copies put back.

    Each class has as many faces in both as in the split by cluster.
    """
    train, validation = six.splits["train"], six.splits["val"]
    pool = Split(
        *(
            np.concatenate([getattr(train, name), getattr(validation, name)])
            for name in ("images", "labels", "votes", "sources", "copies")
        )
    )
    rows = np.random.default_rng(RECIPE.seed).permutation(np.repeat(np.arange(len(pool)), 1 + pool.copies.astype(int)))
    chosen: dict[str, list[NDArray[np.int64]]] = {"val": [], "train": []}
    for label in np.unique(pool.labels):
        of_class = rows[pool.labels[rows] == label]
        for name, own in chosen.items():
            count = int((six.splits[name].labels == label).sum())
            own.append(of_class[:count])
            of_class = of_class[count:]
    return pool[np.concatenate(chosen["train"])], pool[np.concatenate(chosen["val"])]
