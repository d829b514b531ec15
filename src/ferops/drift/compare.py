"""Drift: what differs between two versions of data/, in rows, class shares and the appearance of the images.

The statistics, and what counts as large, are in `shifts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from ferops import threads
from ferops.config import Params
from ferops.datasets.images import UnreadableImageError, decode
from ferops.drift.report import drift_page
from ferops.drift.shifts import adjusted, shift_of_numbers, shift_of_shares
from ferops.drift.versions import Version, at_revision, current
from ferops.errors import FeropsError
from ferops.escape import inline
from ferops.files import atomic_folder, write_text
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.records.drift import DataVersion, DriftSummary, NumberShift, ShareShift, SourceChange
from ferops.validation.measure import sharpness

SAMPLE_ROWS = 10_000
"""Images of a source that are decoded at most. They are drawn by image_id, so both versions draw the same ones."""
EXAMPLES = 12
HEADER = ("width", "height")
APPEARANCE = ("brightness", "contrast", "sharpness")
TOTAL = "all sources"

Images = dict[tuple[str, str], bytes]


@dataclass(frozen=True)
class Sides:
    """A frame of rows for each of the two versions."""

    before: pd.DataFrame
    after: pd.DataFrame

    def of(self, source: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        return tuple(side[side["source"] == source] for side in (self.before, self.after))  # type: ignore[return-value]

    @property
    def names(self) -> list[str]:
        """The sources in either of them."""
        return sorted({*self.before["source"], *self.after["source"]})


def compare_versions(layout: Layout, params: Params, before: str, after: str | None) -> DriftSummary:
    """Compare two versions of data/, write reports/drift/{index.html, summary.json} and return the summary.

    `before` and `after` are Git revisions of data.dvc; without `after`, what is in data/ now. Nothing in data/ changes.

    Raises:
        FeropsError: see `versions`; or both are the same version.
    """
    old = at_revision(layout, before)
    new = current(layout) if after is None else at_revision(layout, after)
    if old.data_version == new.data_version:
        raise FeropsError(
            f"{old.name} and {new.name} are the same data version, {old.data_version[:10]}: there is nothing to "
            "compare. Revisions in which the data changed: git log --oneline -- data.dvc"
        )
    rows = Sides(old.rows(), new.rows())
    sources = tuple(_source_change(name, *rows.of(name)) for name in rows.names)
    sampled = _sample(rows, sources)
    examples = _examples(rows)
    appearance, images = _measure_images(old, new, sampled=sampled, examples=examples)
    shifts = adjusted(_shifts(rows, sampled, sources, appearance))
    summary = DriftSummary(
        provenance=provenance(layout, params),
        before=DataVersion(name=old.name, data_version=old.data_version, rows=len(rows.before)),
        after=DataVersion(name=new.name, data_version=new.data_version, rows=len(rows.after)),
        verdict=max((shift.word for shift in shifts), key=["no", "small", "large"].index, default="no"),
        looked_at=len(appearance),
        sources=sources,
        shifts=shifts,
    )
    with atomic_folder(layout.reports("drift")) as folder:
        summary.write(folder / "summary.json")
        write_text(folder / "index.html", drift_page(summary, examples, images))
    return summary


# --- rows ---------------------------------------------------------------------------------------------------------


def row_changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image_id that differs: image_id, added, removed, relabelled (rows), old, new (a label each).

    Rows are matched by image_id and label, as often as they occur. What is left over of an image_id on both sides is
    relabelled, on one side added or removed. `old` and `new` are the first such labels, null where there is none.
    """
    sides = [side.assign(label=side["label"].fillna("unlabelled")) for side in (before, after)]
    counts = [side.groupby(["image_id", "label"]).size() for side in sides]
    more = counts[1].sub(counts[0], fill_value=0).astype(int)
    gone, new = (-more[more < 0]).reset_index(name="rows"), more[more > 0].reset_index(name="rows")
    ends = [
        end.groupby("image_id").agg(**{name: ("rows", "sum"), label: ("label", "first")})
        for end, name, label in ((gone, "removed", "old"), (new, "added", "new"))
    ]
    changes = ends[0].join(ends[1], how="outer")
    changes[["removed", "added"]] = changes[["removed", "added"]].fillna(0).astype(int)
    changes["relabelled"] = changes[["removed", "added"]].min(axis=1)
    for name in ("removed", "added"):
        changes[name] -= changes["relabelled"]
    return changes.reset_index()[["image_id", "added", "removed", "relabelled", "old", "new"]]


def _source_change(name: str, before: pd.DataFrame, after: pd.DataFrame) -> SourceChange:
    changes = row_changes(before, after)
    relabels = changes[changes["relabelled"] > 0]
    pairs = (relabels["old"] + " -> " + relabels["new"]).value_counts()
    same = _content(before) == _content(after)
    return SourceChange(
        source=name,
        status="new" if before.empty else "gone" if after.empty else "same rows" if same else "changed",
        rows_before=len(before),
        rows_after=len(after),
        added=int(changes["added"].sum()),
        removed=int(changes["removed"].sum()),
        relabelled=int(changes["relabelled"].sum()),
        relabels={str(pair): int(count) for pair, count in pairs.items()},
    )


def _content(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return sorted(rows[["image_id", "label", "usage"]].fillna("").itertuples(index=False, name=None))


def _examples(rows: Sides) -> pd.DataFrame:
    """Return some changed rows to show: kind, source, image_id, old, new; image_ids are hashes, so at random."""
    found = []
    for name in rows.names:
        changes = row_changes(*rows.of(name)).assign(source=name)
        for kind in ("relabelled", "added", "removed"):
            found.append(changes[changes[kind] > 0].head(EXAMPLES).assign(kind=kind))
    every = pd.concat(found, ignore_index=True)
    return every.groupby("kind").head(EXAMPLES)[["kind", "source", "image_id", "old", "new"]]


# --- images -------------------------------------------------------------------------------------------------------


def _sample(rows: Sides, sources: Sequence[SourceChange]) -> Sides:
    """Return the rows whose images are measured, with `in_total`: whether they belong to the sample of all sources.

    A share of each source, but the same share of every source in the sample of all sources.
    """
    share = {one.source: min(1.0, SAMPLE_ROWS / max(one.rows_before, one.rows_after)) for one in sources}
    least = min(share.values())
    own = {one.source: share[one.source] if one.status == "changed" else least for one in sources}

    def sampled(side: pd.DataFrame) -> pd.DataFrame:
        place = side["image_id"].str[:8].map(lambda digits: int(digits, 16) / 2**32).astype(float)
        return side.assign(in_total=place < least)[place < side["source"].map(own)]

    return Sides(sampled(rows.before), sampled(rows.after))


def _measure_images(
    old: Version, new: Version, *, sampled: Sides, examples: pd.DataFrame
) -> tuple[pd.DataFrame, Images]:
    """Decode every sampled image once, in whichever version it is; return a frame, and the encoded examples.

    The frame has source, image_id and APPEARANCE, NaN where an image cannot be decoded. Its rows are the sampled
    images.
    """
    sample = pd.concat([sampled.before, sampled.after])[["source", "image_id"]].drop_duplicates()
    wanted = pd.concat([sample, examples[["source", "image_id"]]]).drop_duplicates()
    shown = set(zip(examples["source"], examples["image_id"], strict=True))
    left = {str(source): set(ids) for source, ids in wanted.groupby("source")["image_id"]}
    numbers: dict[tuple[str, str], tuple[float, float, float]] = {}
    images: Images = {}
    cv2.setNumThreads(1)  # the threads below are the parallelism
    with ThreadPoolExecutor(max_workers=threads.current()) as pool:
        for version in (new, old):
            for batch in version.images(left):
                keys = [(source, image_id) for source, image_id, _ in batch]
                encoded = [image for _, _, image in batch]
                images |= {key: image for key, image in zip(keys, encoded, strict=True) if key in shown}
                numbers |= dict(zip(keys, pool.map(appearance, encoded), strict=True))
            left = {source: {name for name in ids if (source, name) not in numbers} for source, ids in left.items()}
    found = pd.DataFrame(
        [(*key, *values) for key, values in numbers.items()], columns=["source", "image_id", *APPEARANCE]
    )
    return sample.merge(found, on=["source", "image_id"]), images


def appearance(encoded: bytes) -> tuple[float, float, float]:
    """Return brightness and contrast (mean and standard deviation of the grey levels, 0-255) and sharpness (variance of
    the Laplacian at 48 px); NaN for what cannot be decoded."""
    try:
        grey = np.asarray(cv2.cvtColor(decode(encoded), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    except UnreadableImageError:
        return (float("nan"),) * 3
    mean, deviation = cv2.meanStdDev(grey)
    return float(mean[0, 0]), float(deviation[0, 0]), sharpness(grey)


# --- shifts -------------------------------------------------------------------------------------------------------


def _shifts(
    rows: Sides, sampled: Sides, sources: Sequence[SourceChange], measured: pd.DataFrame
) -> list[ShareShift | NumberShift]:
    """All quantities of all sources together, and of each source that is in both versions with other rows."""
    found: list[ShareShift | NumberShift] = []

    def add(source: str, whole: Sequence[pd.DataFrame], sample: Sequence[pd.DataFrame]) -> None:
        found.append(shift_of_shares(*(side["label"] for side in whole), source=source))
        for quantity in HEADER:
            sizes = (side.loc[side[quantity] > 0, quantity] for side in whole)  # 0: the header cannot be read
            found.append(shift_of_numbers(*sizes, source=source, quantity=quantity))
        for quantity in APPEARANCE:
            values = (side[quantity] for side in sample)
            found.append(shift_of_numbers(*values, source=source, quantity=quantity))

    joined = Sides(*(side.merge(measured, on=["source", "image_id"]) for side in (sampled.before, sampled.after)))
    changed = [one.source for one in sources if one.status == "changed"]
    if len(sources) > 1 or not changed:  # the one source is all of it
        in_total = [side[side["in_total"]] for side in (joined.before, joined.after)]
        add(TOTAL, [rows.before, rows.after], in_total)
    for source in changed:
        add(source, rows.of(source), joined.of(source))
    return found


def drift_table(summary: DriftSummary) -> list[str]:
    """Return what `ferops drift` prints: a line per source, and a line per quantity that shifted."""
    old, new = summary.before, summary.after
    lines = [f"{inline(old.name)} ({old.data_version[:10]}) -> {inline(new.name)} ({new.data_version[:10]})"]
    for one in summary.sources:
        lines.append(
            f"  {inline(one.source)}: {one.status}, {one.rows_before} -> {one.rows_after} rows; "
            f"{one.added} added, {one.removed} removed, {one.relabelled} relabelled"
        )
    shifted = [shift for shift in summary.shifts if shift.word != "no"]
    for shift in shifted:
        name = "stability index" if shift.kind == "shares" else "KS distance"
        lines.append(
            f"  {shift.word} shift of {inline(shift.quantity)} in {inline(shift.source)} ({name} {shift.effect:.3f})"
        )
    return lines if shifted else [*lines, "  no shift of class shares or images"]
