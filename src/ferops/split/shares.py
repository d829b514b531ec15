"""What a split came to: the shares that were wanted and reached, and what was kept together."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Split as Settings
from ferops.split.assign import SPLITS, wanted_shares
from ferops.split.groups import leakage, together

LARGEST_GROUPS = 10
SIZE_BANDS = {"1": 1, "2": 2, "3 to 5": 5, "6 to 20": 20, "21 to 100": 100}


def describe(joined: pd.DataFrame, settings: Settings) -> dict[str, Any]:
    """Return what `joined`, the manifest with its assignment (split null where a row was left out), came to.

    rows, groups, largest_group, mode (drawn, official or folds), official_test, dropped_crossing; shares and wanted
    (split -> share of the assigned rows); counts (split -> label -> rows), sources (source -> split -> rows), strata
    (one record per source and label: rows, train, val, test, dropped); together (see `groups.together`), leakage
    (clusters and subjects in two splits or two folds); group_sizes (band -> groups), largest_groups (records);
    test_fold and folds (records), null and empty when off.
    """
    rows = joined.dropna(subset="split")
    sizes = rows["group"].value_counts()
    counts = pd.crosstab(rows["split"], rows["label"]).reindex(index=SPLITS, columns=DEFAULT_CLASSES, fill_value=0)
    sources = pd.crosstab(rows["source"], rows["split"]).reindex(columns=SPLITS, fill_value=0)
    shares = {name: float((rows["split"] == name).mean()) for name in SPLITS}
    parts = ["split", "fold"] if settings.folds else ["split"]
    return {
        "rows": len(rows),
        "groups": len(sizes),
        "largest_group": int(sizes.max()),
        "mode": "official" if settings.official_test else "folds" if settings.folds else "drawn",
        "official_test": settings.official_test,
        "dropped_crossing": len(joined) - len(rows),
        "shares": {name: round(share, 4) for name, share in shares.items()},
        "wanted": _wanted(settings, test=shares["test"]),
        "counts": _nested(counts),
        "sources": _nested(sources),
        "strata": _strata(joined),
        "together": together(rows),
        "leakage": sum(len(leakage(rows, part=part)) for part in parts),
        "group_sizes": _group_sizes(sizes),
        "largest_groups": _largest_groups(rows, sizes),
        "test_fold": settings.test_fold if settings.folds else None,
        "folds": _folds(rows) if settings.folds else [],
    }


def _wanted(settings: Settings, *, test: float) -> dict[str, float]:
    """An official test split is as large as it is; what it leaves is shared as asked."""
    wanted_test, val = wanted_shares(settings)
    wanted_test = test if settings.official_test else wanted_test
    return {"train": round(1 - val - wanted_test, 4), "val": val, "test": round(wanted_test, 4)}


def _strata(joined: pd.DataFrame) -> list[dict[str, Any]]:
    kinds = joined["split"].fillna("dropped")
    return [
        {
            "source": str(source),
            "label": str(label),
            "rows": len(stratum),
            **{kind: int((stratum == kind).sum()) for kind in (*SPLITS, "dropped")},
        }
        for (source, label), stratum in kinds.groupby([joined["source"], joined["label"]])
    ]


def _group_sizes(sizes: pd.Series) -> dict[str, int]:
    found, below = {}, 0
    for band, most in SIZE_BANDS.items():
        found[band] = int(((sizes > below) & (sizes <= most)).sum())
        below = most
    found["more"] = int((sizes > below).sum())
    return {band: number for band, number in found.items() if number}


def _largest_groups(rows: pd.DataFrame, sizes: pd.Series) -> list[dict[str, Any]]:
    ordered = sizes[sizes > 1].reset_index().sort_values(["count", "group"], ascending=[False, True])
    found = []
    for name in ordered["group"].head(LARGEST_GROUPS):
        group = rows[rows["group"] == name]
        labels = group["label"].value_counts()
        found.append(
            {
                "group": str(name),
                "rows": len(group),
                "share": round(len(group) / len(rows), 4),
                "split": str(group["split"].iloc[0]),
                "sources": ", ".join(sorted(set(group["source"]))),
                "subjects": int(group["subject"].nunique()),
                "clusters": int(group["cluster"].nunique()),
                "labels": ", ".join(f"{label} {labels[label]}" for label in DEFAULT_CLASSES if label in labels.index),
            }
        )
    return found


def _folds(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "fold": int(number),
            "rows": len(fold),
            "groups": int(fold["group"].nunique()),
            **{label: int((fold["label"] == label).sum()) for label in DEFAULT_CLASSES},
        }
        for number, fold in rows.groupby(rows["fold"].astype(int))
    ]


def _nested(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    return {str(name): {str(c): int(n) for c, n in row.items()} for name, row in table.iterrows()}
