"""Sources that say who is shown and not how they look, as FairFace: are groups answered differently?

There is no right answer to compare with; a group that is answered anger twice as often as others is a question.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from ferops.datasets.images import UnreadableImageError
from ferops.datasets.raw import Raw, open_raw, sources
from ferops.faces.photo import Photo
from ferops.fairness.groups import PREFIX, plain
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.records.fairness import GroupRates


def audited(layout: Layout) -> Iterator[Raw]:
    """Yield the sources of data/ that have groups of people and not one label."""
    for name in sources(layout):
        raw = open_raw(layout, name)
        if any(column.startswith(PREFIX) for column in raw.schema.names):
            labels = raw.table(["label"]).column("label")
            if labels.null_count == len(labels):
                yield raw


def rates(
    raw: Raw, predictor: Predictor, most: int, *, seed: int, seconds: float, min_images: int
) -> tuple[list[GroupRates], bool]:
    """Return what is answered to each group of `min_images` of `most` images, and whether all of them were tried."""
    started = time.perf_counter()
    columns = [name for name in raw.schema.names if name.startswith(PREFIX)]
    table = raw.table(columns).to_pandas()
    chosen = np.random.default_rng(seed).permutation(len(table))[:most]
    encoded = raw.images(set(chosen.tolist()))
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    done = True
    for row in chosen.tolist():
        if time.perf_counter() - started > seconds:
            done = False
            break
        try:
            found = predictor.predict(Photo.decode(encoded[row]))
        except UnreadableImageError:
            continue
        face = found.faces[0] if found.faces else None
        answer = "no face" if face is None else face.label if face.status == "ok" else "low confidence"
        for name in columns:
            if (value := table[name].iloc[row]) is not None:
                counts[plain(name), value][answer] += 1
    answers = [*predictor.config.classes, "low confidence", "no face"]
    return [
        GroupRates(
            source=raw.source,
            attribute=attribute,
            value=value,
            n=of_group.total(),
            rates={answer: of_group[answer] / of_group.total() for answer in answers},
        )
        for (attribute, value), of_group in sorted(counts.items())
        if of_group.total() >= min_images
    ], done
