"""Drift: what differs between two versions of data/, in rows, class shares and how the images look.

The statistics, and what counts as large, are in `shifts`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import Params
from ferops.datasets.images import UnreadableImageError, decode
from ferops.drift import page as drift_page
from ferops.drift.shifts import adjusted, shift_of_numbers, shift_of_shares
from ferops.drift.versions import Version, at_revision, current
from ferops.errors import FeropsError
from ferops.files import atomic_folder, write_json, write_text
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.validation.measure import sharpness

SAMPLE_ROWS = 10_000
"""Images of a source that are decoded at most. They are drawn by image_id, so both versions draw the same ones."""
EXAMPLES = 12
HEADER = ("width", "height")
LOOKS = ("brightness", "contrast", "sharpness")
TOTAL = "all sources"

Pictures = dict[tuple[str, str], bytes]


def drift(layout: Layout, params: Params, before: str, after: str | None) -> dict[str, Any]:
    """Compare two versions of data/, write reports/drift/{index.html, summary.json} and return the summary.

    `before` and `after` are Git revisions of data.dvc; without `after`, what is in data/ now. Nothing in data/ changes.

    The summary adds to stage and provenance: before and after (name, data_version, rows), verdict (no, small, large: of
    the largest shift), looked_at (images decoded), sources (per source: status, rows before and after, added, removed,
    relabelled, relabels) and shifts (one per quantity, see `shifts`).

    Raises:
        FeropsError: see `versions`; or both are the same version.
    """
    old = at_revision(layout, before)
    new = current(layout) if after is None else at_revision(layout, after)
    if old.data_version == new.data_version:
        raise FeropsError(
            f"{old.name} and {new.name} are the same data version, {old.data_version[:10]}: nothing can have drifted. "
            "Revisions in which the data changed: git log --oneline -- data.dvc"
        )
    rows = {"before": old.rows(), "after": new.rows()}
    sources = [_source(name, *(side[side["source"] == name] for side in rows.values())) for name in _names(rows)]
    examples = _examples(rows)
    looks, pictures = _look(old, new, rows=_sampled(rows, sources), examples=examples)
    shifts = adjusted(_shifts(rows, sources, looks))
    summary = {
        "stage": "drift",
        "provenance": provenance(layout, params).as_json(),
        "before": {"name": old.name, "data_version": old.data_version, "rows": len(rows["before"])},
        "after": {"name": new.name, "data_version": new.data_version, "rows": len(rows["after"])},
        "verdict": max((shift["word"] for shift in shifts), key=["no", "small", "large"].index, default="no"),
        "looked_at": len(looks),
        "sources": sources,
        "shifts": shifts,
    }
    with atomic_folder(layout.reports("drift")) as folder:
        write_json(folder / "summary.json", summary)
        write_text(folder / "index.html", drift_page.render(summary, examples, pictures))
    return summary


def _names(rows: dict[str, pd.DataFrame]) -> list[str]:
    return sorted({name for side in rows.values() for name in side["source"]})


# --- rows ---------------------------------------------------------------------------------------------------------


def row_changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Return one row per image_id that differs: image_id, added, removed, relabelled (rows), old, new (a label each).

    Rows are matched by image_id and label, as often as they occur. What is left over of an image_id on both sides is
    relabelled, on one side added or removed. `old` and `new` are the first such labels, null where there is none.
    """
    sides = [side.assign(label=side["label"].fillna("unlabelled")) for side in (before, after)]
    counts = [side.groupby(["image_id", "label"]).size() for side in sides]
    more = counts[1].sub(counts[0], fill_value=0).astype(int)
    gone, come = (-more[more < 0]).reset_index(name="rows"), more[more > 0].reset_index(name="rows")
    parts = [
        part.groupby("image_id").agg(**{name: ("rows", "sum"), label: ("label", "first")})
        for part, name, label in ((gone, "removed", "old"), (come, "added", "new"))
    ]
    changes = parts[0].join(parts[1], how="outer")
    changes[["removed", "added"]] = changes[["removed", "added"]].fillna(0).astype(int)
    changes["relabelled"] = changes[["removed", "added"]].min(axis=1)
    for name in ("removed", "added"):
        changes[name] -= changes["relabelled"]
    return changes.reset_index()[["image_id", "added", "removed", "relabelled", "old", "new"]]


def _source(name: str, before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Any]:
    changes = row_changes(before, after)
    relabels = changes[changes["relabelled"] > 0]
    pairs = (relabels["old"] + " -> " + relabels["new"]).value_counts()
    status = "changed" if _content(before) != _content(after) else "same rows"
    return {
        "source": name,
        "status": "new" if before.empty else "gone" if after.empty else status,
        "rows_before": len(before),
        "rows_after": len(after),
        **{kind: int(changes[kind].sum()) for kind in ("added", "removed", "relabelled")},
        "relabels": {str(pair): int(count) for pair, count in pairs.items()},
    }


def _content(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return sorted(rows[["image_id", "label", "usage"]].fillna("").itertuples(index=False, name=None))


def _examples(rows: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return some changed rows to look at: kind, source, image_id, old, new; image_ids are hashes, so at random."""
    found = []
    for name in _names(rows):
        changes = row_changes(*(side[side["source"] == name] for side in rows.values())).assign(source=name)
        for kind in ("relabelled", "added", "removed"):
            found.append(changes[changes[kind] > 0].head(EXAMPLES).assign(kind=kind))
    every = pd.concat(found, ignore_index=True)
    return every.groupby("kind").head(EXAMPLES)[["kind", "source", "image_id", "old", "new"]]


# --- images -------------------------------------------------------------------------------------------------------


def _sampled(rows: dict[str, pd.DataFrame], sources: list[dict[str, Any]]) -> dict[str, pd.DataFrame]:
    """Return the rows whose images are looked at, with `in_total`: whether they belong to the sample of all sources.

    A share of each source, but the same share of every source in the sample of all sources.
    """
    share = {one["source"]: min(1.0, SAMPLE_ROWS / max(one["rows_before"], one["rows_after"])) for one in sources}
    least = min(share.values())
    own = {one["source"]: share[one["source"]] if one["status"] == "changed" else least for one in sources}
    sampled = {}
    for name, side in rows.items():
        place = side["image_id"].str[:8].map(lambda digits: int(digits, 16) / 2**32).astype(float)
        sampled[name] = side.assign(in_total=place < least)[place < side["source"].map(own)]
    return sampled


def _look(
    old: Version, new: Version, *, rows: dict[str, pd.DataFrame], examples: pd.DataFrame
) -> tuple[pd.DataFrame, Pictures]:
    """Decode every wanted image once, wherever it is, and return a frame and the encoded examples.

    The frame has source, image_id and LOOKS, NaN where an image cannot be decoded. Its rows are the sampled images.
    """
    sample = pd.concat(rows.values())[["source", "image_id"]].drop_duplicates()
    wanted = pd.concat([sample, examples[["source", "image_id"]]]).drop_duplicates()
    shown = set(zip(examples["source"], examples["image_id"], strict=True))
    left = {str(source): set(ids) for source, ids in wanted.groupby("source")["image_id"]}
    numbers: dict[tuple[str, str], tuple[float, float, float]] = {}
    pictures: Pictures = {}
    cv2.setNumThreads(1)  # the threads below are the parallelism
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for version in (new, old):
            for batch in version.images(left):
                keys = [(source, image_id) for source, image_id, _ in batch]
                encoded = [image for _, _, image in batch]
                pictures |= {key: image for key, image in zip(keys, encoded, strict=True) if key in shown}
                numbers |= dict(zip(keys, pool.map(looks, encoded), strict=True))
            left = {source: {name for name in ids if (source, name) not in numbers} for source, ids in left.items()}
    found = pd.DataFrame([(*key, *values) for key, values in numbers.items()], columns=["source", "image_id", *LOOKS])
    return sample.merge(found, on=["source", "image_id"]), pictures


def looks(encoded: bytes) -> tuple[float, float, float]:
    """Return brightness and contrast (mean and standard deviation of the grey levels, 0-255) and sharpness (variance of
    the Laplacian at 48 px); NaN for what cannot be decoded."""
    try:
        grey = np.asarray(cv2.cvtColor(decode(encoded), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    except UnreadableImageError:
        return (float("nan"),) * 3
    mean, deviation = cv2.meanStdDev(grey)
    return float(mean[0, 0]), float(deviation[0, 0]), sharpness(grey)


# --- shifts -------------------------------------------------------------------------------------------------------


def _shifts(rows: dict[str, pd.DataFrame], sources: list[dict[str, Any]], seen: pd.DataFrame) -> list[dict[str, Any]]:
    """All quantities of all sources, and of each source that is in both versions with other rows."""
    sampled = {name: side.merge(seen, on=["source", "image_id"]) for name, side in _sampled(rows, sources).items()}
    groups: list[str | None] = [None, *(one["source"] for one in sources if one["status"] == "changed")]
    if len(sources) == 1 and len(groups) == 2:
        groups = groups[1:]  # the one source is all of it
    found = []
    for group in groups:
        whole = [side if group is None else side[side["source"] == group] for side in rows.values()]
        looked = [
            side[side["in_total"]] if group is None else side[side["source"] == group] for side in sampled.values()
        ]
        said = {"source": group or TOTAL}
        found.append(said | {"quantity": "class"} | shift_of_shares(*(side["label"] for side in whole)))
        for quantity in HEADER:
            sizes = (_known(side.loc[side[quantity] > 0, quantity]) for side in whole)  # 0: the header cannot be read
            found.append(said | {"quantity": quantity} | shift_of_numbers(*sizes))
        for quantity in LOOKS:
            found.append(said | {"quantity": quantity} | shift_of_numbers(*(_known(side[quantity]) for side in looked)))
    return found


def _known(values: pd.Series) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = values.dropna().to_numpy(dtype=np.float64)
    return numbers


def table(summary: dict[str, Any]) -> list[str]:
    """Return what `ferops drift` prints: a line per source, and a line per quantity that shifted."""
    old, new = summary["before"], summary["after"]
    lines = [f"{old['name']} ({old['data_version'][:10]}) -> {new['name']} ({new['data_version'][:10]})"]
    for one in summary["sources"]:
        lines.append(
            f"  {one['source']}: {one['status']}, {one['rows_before']} -> {one['rows_after']} rows; "
            f"{one['added']} added, {one['removed']} removed, {one['relabelled']} relabelled"
        )
    shifted = [shift for shift in summary["shifts"] if shift["word"] != "no"]
    for shift in shifted:
        name = "stability index" if shift["kind"] == "shares" else "KS distance"
        lines.append(
            f"  {shift['word']} shift of {shift['quantity']} in {shift['source']} ({name} {shift['effect']:.3f})"
        )
    return lines if shifted else [*lines, "  no shift of class shares or images"]
