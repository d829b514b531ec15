"""What becomes of each row: accepted, excluded by its label, or quarantined with one reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferops.config import CLASSES, OTHER_LABELS, Validate

REASONS = ("undecodable", "too_small", "too_large", "blank", "exact_duplicate", "label_conflict", "unknown_label")
USAGE_RANK = {"train": 0, "val": 1, "test": 2}


def triage(facts: pd.DataFrame, settings: Validate) -> pd.DataFrame:
    """Return `outcome` (accepted, excluded, quarantined), `reason` (of REASONS, or null) and `detail` per row.

    `facts` holds source, row, label, usage, width, height and the columns of Measures; its index is 0 to N-1 and its
    order breaks ties between duplicates. A row has one reason, the first that applies in the order: unknown label,
    undecodable, too large, too small, blank, label conflict, exact duplicate.

    Excluded rows (other labels, or none) count as evidence in a label conflict: a picture that one row calls `sad` and
    its copy `neutral` has no sure label.
    """
    result = pd.DataFrame({"outcome": "accepted", "reason": None, "detail": None}, index=facts.index, dtype="object")
    label = facts["label"]
    result.loc[label.isna() | label.isin(OTHER_LABELS), "outcome"] = "excluded"
    shorter, longer = facts[["width", "height"]].min(axis=1), facts[["width", "height"]].max(axis=1)
    size = facts["width"].astype(str) + "x" + facts["height"].astype(str) + " px"
    _hold(result, ~label.isin(CLASSES), "unknown_label", "label " + label.astype(str) + " is none that ferops knows")
    _hold(result, ~facts["decodes"].astype(bool), "undecodable", facts["problem"])
    _hold(result, longer > settings.max_side_px, "too_large", size + f", at most {settings.max_side_px} wanted")
    _hold(result, shorter < settings.min_side_px, "too_small", size + f", at least {settings.min_side_px} wanted")
    spread = facts["grey_std"].round(2).astype(str)
    _hold(
        result,
        facts["grey_std"] < settings.blank_std,
        "blank",
        "grey levels spread by " + spread + f", at least {settings.blank_std:g} wanted",
    )
    if settings.label_conflicts == "quarantine":
        labels = facts[label.isin([*CLASSES, *OTHER_LABELS])].groupby("cluster")["label"]
        several = labels.nunique()
        found = labels.unique()[several.index[several > 1]]
        conflicting = pd.Series({cluster: ", ".join(sorted(names)) for cluster, names in found.items()}, dtype=object)
        said = facts["cluster"].map(conflicting)
        _hold(result, said.notna(), "label_conflict", "pixel-identical copies are labelled " + said.astype(str))
    _hold_copies(facts, result)
    return result


def duplicate_counts(facts: pd.DataFrame) -> dict[str, int]:
    """Return counts over all decoded rows, excluded ones too, as published: groups of pixel-identical images, copies
    beyond one per group, groups with more than one label, groups that reach over more than one official split."""
    groups = facts.dropna(subset="cluster").groupby("cluster")
    sizes = groups.size()
    return {
        "exact_duplicate_groups": int((sizes > 1).sum()),
        "exact_duplicate_surplus": int((sizes - 1).sum()),
        "label_conflict_groups": int((groups["label"].nunique() > 1).sum()),
        "cross_usage_duplicate_groups": int((groups["usage"].nunique() > 1).sum()),
    }


def counts(facts: pd.DataFrame, result: pd.DataFrame) -> dict[str, Any]:
    """Return rows_in, excluded (by label), accepted, quarantined (by reason), class_counts of the accepted rows."""
    labels = facts["label"]
    excluded = labels[result["outcome"] == "excluded"].fillna("unlabelled").value_counts()
    reasons = result["reason"].value_counts()
    classes = labels[result["outcome"] == "accepted"].value_counts()
    return {
        "rows_in": len(facts),
        "excluded": {str(name): int(count) for name, count in excluded.sort_index().items()},
        "accepted": int((result["outcome"] == "accepted").sum()),
        "quarantined": {reason: int(reasons[reason]) for reason in REASONS if reason in reasons.index},
        "class_counts": {name: int(classes.get(name, 0)) for name in CLASSES},
    }


def _hold(result: pd.DataFrame, applies: pd.Series, reason: str, detail: pd.Series) -> None:
    held = applies & (result["outcome"] == "accepted")
    result.loc[held, "outcome"] = "quarantined"
    result.loc[held, "reason"] = reason
    result.loc[held, "detail"] = detail[held].astype(object)


def _hold_copies(facts: pd.DataFrame, result: pd.DataFrame) -> None:
    """Keep one row per cluster: a train copy before a val copy before a test copy, then the first."""
    rank = facts["usage"].map(USAGE_RANK).fillna(len(USAGE_RANK))
    candidates = facts.assign(rank=rank, position=np.arange(len(facts)))[result["outcome"] == "accepted"]
    ordered = candidates.sort_values(["rank", "position"])
    kept = ordered.drop_duplicates("cluster").set_index("cluster")["position"]
    keeper = facts["cluster"].map(kept)
    copies = keeper.notna() & (keeper != np.arange(len(facts)))
    kept_rows = facts.iloc[keeper[copies].astype(int)]
    where = kept_rows["source"].astype(str) + " row " + kept_rows["row"].astype(str)
    usage = kept_rows["usage"].map(lambda part: "" if pd.isna(part) else f" ({part})")
    detail = pd.Series(index=facts.index, dtype=object)
    detail[copies] = ("the same pixels as " + where + usage + ", which is kept").to_numpy()
    _hold(result, copies, "exact_duplicate", detail)
