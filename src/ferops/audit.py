"""`ferops audit SOURCE`: does the detector find faces equally well in every group of people?

The audit needs no expression labels, so it works on data sets without any, such as FairFace. It measures the detector
as the stage `preprocess` uses it: no later stage can be fair to a face that the detector misses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ferops.config import Params
from ferops.datasets.catalogue import SOURCES
from ferops.datasets.images import UnreadableImageError
from ferops.datasets.raw import Raw, open_raw
from ferops.errors import FeropsError
from ferops.escape import code, markdown
from ferops.faces.detect import find_faces
from ferops.faces.detection import Detector
from ferops.faces.detectors import from_settings
from ferops.faces.photo import Photo
from ferops.layout import Layout
from ferops.provenance import data_version

PREFIX = "group_"
UNKNOWN = "not annotated"
ALL = ("all", "all")

CAVEATS = (
    "A face anywhere in the image counts. The intervals are Wilson's, each for one group: among many groups, some "
    "differ by chance alone. Images count as independent. A data set collected with a face detector lacks the faces "
    "that its detector missed, so true rates are lower."
)


class Rate(NamedTuple):
    """How often a face was found in one group.

    Attributes:
        attribute, group: `age`, `young`; the group UNKNOWN holds the images without a value, attribute ALL all of them.
        images, found: images searched, and those in which a face was found.
        low, high: the score interval of the rate, 0-1.
    """

    attribute: str
    group: str
    images: int
    found: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Share of images with a face, 0-1."""
        return self.found / self.images


@dataclass(frozen=True)
class Audit:
    """Detection rates of one source.

    Attributes:
        images: how many were drawn.
        unreadable: how many of them could not be decoded; the rates leave them out.
        rates: sorted by attribute and group; all images last.
    """

    images: int
    unreadable: int
    rates: tuple[Rate, ...]


def audit(layout: Layout, params: Params, source: str, *, limit: int | None, detector: Detector | None = None) -> str:
    """Return a Markdown page: the share of images in which a face is found, by each annotated attribute of `source`.

    Args:
        limit: images drawn at random by params.seed; all of them if None.
        detector: the one that `preprocess` names, unless given.

    Raises:
        FeropsError: the source is not in data/, or has no attributes.
    """
    raw = open_raw(layout, source)
    settings = params.preprocess
    detector = detector or from_settings(settings)
    found = measure(raw, detector, limit=limit, seed=params.seed, level=params.evaluate.confidence_level)
    how = (
        f"Detector `{code(settings.detector)}` at a confidence of at least {settings.min_confidence:g}; "
        f"{found.images} of {raw.num_rows} images, drawn with seed {params.seed}; data version "
        f"`{code(data_version(layout))}`."
    )
    return page(
        found,
        title=SOURCES[source].title if source in SOURCES else source,
        how=how,
        level=params.evaluate.confidence_level,
        min_images=params.evaluate.min_slice_samples,
    )


def measure(raw: Raw, detector: Detector, *, limit: int | None, seed: int, level: float) -> Audit:
    """Search `limit` images of a source (all if None) for faces; `level` is that of the intervals, 0-1.

    Raises:
        FeropsError: the source has no column `group_<name>`, or no image that can be decoded.
    """
    columns = [name for name in raw.schema.names if name.startswith(PREFIX)]
    if not columns:
        raise FeropsError(
            f"{raw.source} has no groups to compare: it has no column {PREFIX}<name> about the people in its images. "
            "Use a source with groups: synthetic, fairface, rafdb, or your own data imported with --attributes"
        )
    chosen = np.arange(raw.num_rows)
    if limit is not None and limit < raw.num_rows:
        chosen = np.random.default_rng(seed).choice(raw.num_rows, limit, replace=False)
    seen: Counter[tuple[str, str]] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    unreadable = 0
    with tqdm(total=len(chosen), unit=" images", desc=f"audit {raw.source}", disable=None) as bar:
        for image, groups in _people(raw, columns, set(chosen.tolist())):
            bar.update()
            if image is None:
                unreadable += 1
                continue
            keys = [*zip(columns, groups, strict=True), ALL]
            seen.update(keys)
            found.update(keys if find_faces(detector, [image])[0] else ())
    if not seen:
        raise FeropsError(
            f"{raw.source}: not one of the {len(chosen)} images drawn can be decoded. Import the source again"
        )
    rates = [
        Rate(key[0].removeprefix(PREFIX), key[1], seen[key], found[key], *_wilson(found[key], seen[key], level=level))
        for key in [*sorted(key for key in seen if key != ALL), ALL]
    ]
    return Audit(len(chosen), unreadable, tuple(rates))


def _wilson(found: int, images: int, *, level: float) -> tuple[float, float]:
    """The score interval: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    It stays within 0-1 and holds its level near 1, where detection rates are."""
    from scipy.stats import binomtest

    interval = binomtest(found, images).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def page(audit: Audit, *, title: str, how: str, level: float, min_images: int) -> str:
    """Return the Markdown. Groups of fewer than `min_images` images are listed but not compared."""
    lines = [f"# Faces found in {markdown(title)}", "", how, ""]
    if audit.unreadable:
        lines += [f"{audit.unreadable} images cannot be decoded and are left out.", ""]
    lines += [f"| attribute | group | images | with a face | {100 * level:g} % interval |", "|---|---|---:|---:|---:|"]
    lines += [
        f"| {markdown(rate.attribute)} | {markdown(rate.group)} | {rate.images} | {rate.rate:.1%} | "
        f"{rate.low:.1%} to {rate.high:.1%} |"
        for rate in audit.rates
    ]
    return "\n".join([*lines, "", *_gaps(audit.rates, min_images=min_images), "", CAVEATS])


def _gaps(rates: Sequence[Rate], *, min_images: int) -> Iterator[str]:
    """Say for each attribute which two groups differ most."""
    known = [rate for rate in rates if rate.group not in (UNKNOWN, ALL[1]) and rate.images >= min_images]
    for attribute, members in groupby(known, key=lambda rate: rate.attribute):
        ordered = sorted(members, key=lambda rate: rate.rate)
        least, most = ordered[0], ordered[-1]
        if len(ordered) > 1:
            apart = "are apart" if least.high < most.low else "overlap"
            points = 100 * (most.rate - least.rate)
            yield (
                f"- {markdown(attribute)}: {points:.1f} points between {markdown(most.group)} ({most.rate:.1%}) and "
                f"{markdown(least.group)} "
                f"({least.rate:.1%}); the intervals {apart}."
            )


def _people(raw: Raw, columns: list[str], chosen: set[int]) -> Iterator[tuple[Photo | None, tuple[str, ...]]]:
    """Yield each chosen image (None if it cannot be decoded) with its groups, one at a time: photographs may have many
    megapixels."""
    start = 0
    for batch in raw.batches(["image", *columns]):
        for row in range(batch.num_rows):
            if start + row in chosen:
                groups = tuple(batch.column(name)[row].as_py() or UNKNOWN for name in columns)
                try:
                    yield Photo.decode(batch.column("image")[row].as_py()), groups
                except UnreadableImageError:
                    yield None, groups
        start += batch.num_rows
