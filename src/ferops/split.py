"""The stage `split`: train, val and test, drawn by connected components of duplicates and people, never by row.

Two images that show the same pixels or the same person belong to one component, and a component never crosses.
Drawing is stratified by label and source with scikit-learn's StratifiedGroupKFold.
"""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import CLASSES, Params
from ferops.config import Split as Settings
from ferops.errors import FeropsError
from ferops.files import atomic_folder, require, write_json
from ferops.layout import Layout
from ferops.provenance import provenance

SPLITS = ("train", "val", "test")
MAX_FOLDS = 20
"""Shares are met to the nearest fraction with a denominator up to this: 0.15 is 3 folds of 20."""


def split(layout: Layout, params: Params) -> dict[str, Any]:
    """Write artifacts/split/assignment.parquet and reports/split/summary.json (docs/files.md); return the summary.

    The summary adds to stage and provenance (whose split_hash is of the new assignment): rows, groups, largest_group,
    official_test, dropped_crossing, counts (split -> label -> rows), sources (source -> split -> rows), shares (split
    -> share of the assigned rows), leakage (clusters and subjects that are in two splits: 0).

    Raises:
        FeropsError: see `assign`; the manifest is missing; or the leakage check found something.
    """
    manifest = pd.read_parquet(require(layout.manifest, made_by="ferops validate"))
    assignment, dropped = assign(manifest, params.split, seed=params.seed)
    joined = manifest.merge(assignment, on="image_id", validate="one_to_one")
    leaks = leakage(joined)
    if leaks:
        raise FeropsError(
            f"{len(leaks)} clusters or subjects are in two splits, such as {', '.join(leaks[:3])}; no assignment was "
            "written. This is a defect of ferops: please report it with params.yaml and reports/validate/summary.json"
        )
    _require_every_class(joined)
    with atomic_folder(layout.artifacts("split")) as folder:
        assignment.to_parquet(folder / "assignment.parquet", index=False)
    # After the write: the provenance then holds the hash of this assignment.
    summary = {"stage": "split", "provenance": provenance(layout, params)} | _summary(
        joined, dropped=dropped, settings=params.split
    )
    with atomic_folder(layout.reports("split")) as folder:
        write_json(folder / "summary.json", summary)
    return summary


def assign(manifest: pd.DataFrame, settings: Settings, *, seed: int) -> tuple[pd.DataFrame, int]:
    """Return image_id, split and group of every assigned row, sorted by image_id, and the number of rows left out.

    `manifest` has image_id, label, source, usage, subject and cluster. val_share and test_share are shares of its rows.
    The result does not depend on the order of `manifest`.

    With `official_test`, the test split is each source's own: its rows of usage test, or val where it has no test. Its
    other rows go to train and val, apart from those that share a component with a test row: they are left out. A source
    without official split has no rows in test then.

    Raises:
        FeropsError: the shares leave a split empty, or an official test is wanted and no source has one.
    """
    if settings.test_share + settings.val_share >= 1 and not settings.official_test:
        raise FeropsError(
            f"split.test_share {settings.test_share:g} and split.val_share {settings.val_share:g} leave nothing to "
            "train on; their sum must be below 1"
        )
    rows = manifest.sort_values("image_id", ignore_index=True)
    rows = rows.assign(group=components(rows), stratum=rows["label"] + " " + rows["source"])
    chosen = pd.Series("train", index=rows.index)
    if settings.official_test:
        test = official_test(rows)
        dropped = ~test & rows["group"].isin(rows.loc[test, "group"])
        chosen[test] = "test"
        chosen[dropped] = "dropped"
    else:
        chosen[_draw(rows, settings.test_share, seed=seed, name="test_share")] = "test"
    remaining = rows[chosen == "train"]
    val_share = settings.val_share * len(rows) / max(len(remaining), 1)
    if val_share >= 1:
        raise FeropsError(
            f"split.val_share {settings.val_share:g} of {len(rows)} rows is more than the {len(remaining)} rows "
            "that are left beside the test split; lower it"
        )
    val = _draw(remaining, val_share, seed=seed, name="val_share")
    chosen[remaining.index[val]] = "val"
    kept = rows.assign(split=chosen)[chosen != "dropped"]
    return kept[["image_id", "split", "group"]].reset_index(drop=True), int((chosen == "dropped").sum())


def components(rows: pd.DataFrame) -> NDArray[np.object_]:
    """Return a name per row that is the same exactly for rows connected by clusters and subjects (within a source).

    The name is the first 16 hex digits of the smallest image_id in the component.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # A bipartite graph: rows on one side, what they show (clusters, people) on the other.
    subjects = rows.groupby(["source", "subject"]).ngroup().fillna(-1)  # no subject: no tie
    codes = [pd.factorize(rows["cluster"])[0], subjects.to_numpy(dtype=np.int64)]
    ends, width = [], len(rows)
    for code in codes:
        ends.append(np.where(code < 0, -1, code + width))
        width += int(code.max(initial=-1)) + 1
    start = np.tile(np.arange(len(rows)), len(ends))
    stop = np.concatenate(ends)
    start, stop = start[stop >= 0], stop[stop >= 0]
    graph = coo_array((np.ones(len(start), dtype=bool), (start, stop)), shape=(width, width))
    labels = connected_components(graph, directed=False)[1][: len(rows)]
    return rows["image_id"].groupby(labels).transform("min").str[:16].to_numpy(dtype=object)


def official_test(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are the official test of their source: usage test, or val where the source has no test."""
    has_test = rows["source"].isin(rows.loc[rows["usage"] == "test", "source"])
    test = (rows["usage"] == "test") | (~has_test & (rows["usage"] == "val"))
    if not test.any():
        raise FeropsError(
            f"split.official_test is true, but none of the sources {sorted(set(rows['source']))} has rows of usage "
            "test or val. Set it to false to draw test_share, or import a release with its official split"
        )
    return test


def leakage(joined: pd.DataFrame) -> list[str]:
    """Return the clusters and subjects that have rows in more than one split, by name.

    Asks the manifest's own columns, not the components: it would find a mistake in those.
    """
    splits_of_cluster = joined.groupby("cluster")["split"].nunique()
    known = joined[joined["subject"].notna()]
    splits_of_subject = known.groupby(["source", "subject"])["split"].nunique()
    crossing = [f"cluster {name}" for name in splits_of_cluster.index[splits_of_cluster > 1]]
    return crossing + [f"subject {name[1]} of {name[0]}" for name in splits_of_subject.index[splits_of_subject > 1]]


def _draw(rows: pd.DataFrame, share: float, *, seed: int, name: str) -> NDArray[np.bool_]:
    """Return a mask of about `share` of `rows`: whole groups, strata (label and source) in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = rows["group"].nunique()
    # A fold needs a group, and scikit-learn wants no more folds than the largest stratum has rows.
    most = min(MAX_FOLDS, groups, int(rows["stratum"].value_counts().max())) if groups else 1
    fraction = Fraction(share).limit_denominator(most)
    folds, wanted = fraction.denominator, fraction.numerator
    if wanted in (0, folds):
        raise FeropsError(
            f"split.{name} asks for {share:.1%} of {len(rows)} rows in {groups} groups (people and duplicate clusters "
            "stay together): that leaves an empty split. Change the share, or import more data"
        )
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    fold = np.empty(len(rows), dtype=np.int64)
    with warnings.catch_warnings():
        # A stratum smaller than the number of folds is spread as far as it goes; a missing class is an error later.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for number, (_, inside) in enumerate(splitter.split(rows, rows["stratum"], rows["group"])):
            fold[inside] = number
    return np.isin(fold, _nearest_folds(fold, rows["stratum"], folds=folds, wanted=wanted))


def _nearest_folds(fold: NDArray[np.int64], stratum: pd.Series, *, folds: int, wanted: int) -> list[int]:
    """Return the `wanted` neighbouring folds (in a ring) that hold the share wanted / folds of the strata most nearly.

    A group larger than a fold overfills it, so some runs of folds are far too large: the first one is not always good.
    """
    counts = pd.crosstab(fold, stratum).reindex(range(folds), fill_value=0).to_numpy()  # (folds, strata)
    runs = [[(first + step) % folds for step in range(wanted)] for first in range(folds)]
    target = counts.sum(axis=0) * wanted / folds
    return min(runs, key=lambda run: float(np.abs(counts[run].sum(axis=0) - target).sum()))


def _require_every_class(joined: pd.DataFrame) -> None:
    counts = pd.crosstab(joined["split"], joined["label"]).reindex(index=SPLITS, columns=CLASSES, fill_value=0)
    empty = [f"{name} has no {label}" for name in SPLITS for label in CLASSES if counts.loc[name, label] == 0]
    if empty:
        raise FeropsError(
            f"a split lacks a class: {'; '.join(empty)}. Every split needs every class to be judged by: import more "
            "data, or raise split.test_share or split.val_share (a class with few people cannot be in three splits)"
        )


def _summary(joined: pd.DataFrame, *, dropped: int, settings: Settings) -> dict[str, Any]:
    sizes = joined["group"].value_counts()
    counts = pd.crosstab(joined["split"], joined["label"]).reindex(index=SPLITS, columns=CLASSES, fill_value=0)
    sources = pd.crosstab(joined["source"], joined["split"]).reindex(columns=SPLITS, fill_value=0)
    return {
        "rows": len(joined),
        "groups": len(sizes),
        "largest_group": int(sizes.max()),
        "official_test": settings.official_test,
        "dropped_crossing": dropped,
        "counts": {str(k): {str(c): int(n) for c, n in row.items()} for k, row in counts.iterrows()},
        "sources": {str(k): {str(c): int(n) for c, n in row.items()} for k, row in sources.iterrows()},
        "shares": {name: round(float((joined["split"] == name).mean()), 4) for name in SPLITS},
        "leakage": 0,
    }
