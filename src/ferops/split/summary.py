"""What a split came to: the shares that were wanted and reached, and what was kept together."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ferops.config import Split as Settings
from ferops.records import Provenance
from ferops.records.split import Fold, Group, SplitSummary, Stratum
from ferops.split.assign import SPLITS, wanted_shares
from ferops.split.leakage import leakage, leakage_check

LARGEST_GROUPS = 10
SIZE_BANDS = {"1": 1, "2": 2, "3 to 5": 5, "6 to 20": 20, "21 to 100": 100}


def summarise(joined: pd.DataFrame, settings: Settings, classes: Sequence[str], provenance: Provenance) -> SplitSummary:
    """Return what `joined`, the manifest with its assignment (split null where a row was left out), came to."""
    rows = joined.dropna(subset="split")
    sizes = rows["group"].value_counts()
    counts = pd.crosstab(rows["split"], rows["label"]).reindex(index=SPLITS, columns=list(classes), fill_value=0)
    sources = pd.crosstab(rows["source"], rows["split"]).reindex(columns=SPLITS, fill_value=0)
    shares = {name: float((rows["split"] == name).mean()) for name in SPLITS}
    return SplitSummary(
        provenance=provenance,
        rows=len(rows),
        groups=len(sizes),
        largest_group=int(sizes.max()),
        mode="official" if settings.official_test else "folds" if settings.folds else "drawn",
        official_test=settings.official_test,
        dropped_crossing=len(joined) - len(rows),
        shares={name: round(share, 4) for name, share in shares.items()},
        wanted=_wanted(settings, test=shares["test"]),
        counts=counts.to_dict("index"),
        sources=sources.to_dict("index"),
        strata=_strata(joined),
        together=leakage_check(rows),
        leakage=sum(len(leakage(rows, column=column)) for column in ("split", "fold") if column in rows),
        group_sizes=_group_sizes(sizes),
        largest_groups=_largest_groups(rows, sizes, classes),
        test_fold=settings.test_fold if settings.folds else None,
        folds=_folds(rows, classes) if settings.folds else (),
    )


def _wanted(settings: Settings, *, test: float) -> dict[str, float]:
    """An official test split has the size it has; what it leaves is shared as asked."""
    wanted_test, val = wanted_shares(settings)
    wanted_test = test if settings.official_test else wanted_test
    return {"train": round(1 - val - wanted_test, 4), "val": val, "test": round(wanted_test, 4)}


def _strata(joined: pd.DataFrame) -> tuple[Stratum, ...]:
    kinds = joined["split"].fillna("dropped")
    return tuple(
        Stratum(
            source=source,
            label=label,
            rows=len(stratum),
            **{kind: int((stratum == kind).sum()) for kind in (*SPLITS, "dropped")},
        )
        for (source, label), stratum in kinds.groupby([joined["source"], joined["label"]])
    )


def _group_sizes(sizes: pd.Series) -> dict[str, int]:
    found, below = {}, 0
    for band, most in SIZE_BANDS.items():
        found[band] = int(((sizes > below) & (sizes <= most)).sum())
        below = most
    found["more"] = int((sizes > below).sum())
    return {band: number for band, number in found.items() if number}


def _largest_groups(rows: pd.DataFrame, sizes: pd.Series, classes: Sequence[str]) -> tuple[Group, ...]:
    ordered = sizes[sizes > 1].reset_index().sort_values(["count", "group"], ascending=[False, True])
    found = []
    for name in ordered["group"].head(LARGEST_GROUPS):
        group = rows[rows["group"] == name]
        labels = group["label"].value_counts()
        found.append(
            Group(
                group=name,
                rows=len(group),
                share=round(len(group) / len(rows), 4),
                split=group["split"].iloc[0],
                sources=", ".join(sorted(set(group["source"]))),
                subjects=int(group["subject"].nunique()),
                clusters=int(group["cluster"].nunique()),
                labels=", ".join(f"{label} {labels[label]}" for label in classes if label in labels.index),
            )
        )
    return tuple(found)


def _folds(rows: pd.DataFrame, classes: Sequence[str]) -> tuple[Fold, ...]:
    return tuple(
        Fold(
            fold=number,
            rows=len(fold),
            groups=int(fold["group"].nunique()),
            classes={label: int((fold["label"] == label).sum()) for label in classes},
        )
        for number, fold in rows.groupby(rows["fold"].astype(int))
    )
