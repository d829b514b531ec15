"""What becomes of each row: accepted, excluded by its label, or quarantined with one reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ferops.classes import KNOWN_LABELS
from ferops.config import Validate
from ferops.validation.duplicates import keep_order

REASONS = (
    "undecodable",
    "too_small",
    "too_large",
    "blank",
    "not_a_face",
    "exact_duplicate",
    "near_duplicate",
    "label_conflict",
    "near_label_conflict",
    "unknown_label",
)
NOT_A_FACE = "votes_not_a_face"


def triage(facts: pd.DataFrame, settings: Validate, classes: Sequence[str]) -> pd.DataFrame:
    """Return `outcome` (accepted, excluded, quarantined), `reason` (of REASONS, or null) and `detail` per row.

    `facts` holds source, row, label, usage, takes_part (`selection.takes_part`), width, height, any votes_<name>, the
    columns of Measures and cluster (`duplicates.cluster_names`); its index is 0 to N-1, its order breaks ties between
    duplicates. A row has one reason, the first that applies in the order: unknown label, undecodable, too large, too
    small, blank, not a face, label conflict, near label conflict, exact duplicate, near duplicate.

    Excluded rows (of other official parts, with other labels, or none) count as evidence in a label conflict: a picture
    that one row calls `sad` and its copy `neutral` has no sure label. A near label conflict is one within a cluster of
    several pictures.
    """
    result = pd.DataFrame({"outcome": "accepted", "reason": None, "detail": None}, index=facts.index, dtype="object")
    label = facts["label"]
    result.loc[~facts["takes_part"] | label.isna() | (label.isin(KNOWN_LABELS) & ~label.isin(classes)), "outcome"] = (
        "excluded"
    )
    shorter, longer = facts[["width", "height"]].min(axis=1), facts[["width", "height"]].max(axis=1)
    size = facts["width"].astype(str) + "x" + facts["height"].astype(str) + " px"
    _hold(result, ~label.isin(classes), "unknown_label", "label " + label.astype(str) + " is none that ferops knows")
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
    if settings.not_a_face == "quarantine" and NOT_A_FACE in facts:
        _hold(result, _voted_no_face(facts), "not_a_face", _votes_in_words(facts))
    if settings.label_conflicts == "quarantine":
        said = _conflicting(facts, classes, by="pixel_hash")
        _hold(result, said.notna(), "label_conflict", "pixel-identical copies are labelled " + said.astype(str))
    if settings.near_label_conflicts == "quarantine":
        several = facts.groupby("cluster")["pixel_hash"].transform("nunique") > 1
        said = _conflicting(facts, classes, by="cluster").where(several)
        _hold(result, said.notna(), "near_label_conflict", "altered copies are labelled " + said.astype(str))
    _hold_copies(facts, result, by="pixel_hash", reason="exact_duplicate", same="the same pixels as ")
    if settings.near_duplicates == "quarantine":
        _hold_copies(facts, result, by="cluster", reason="near_duplicate", same="an altered copy of ")
    return result


def counts(facts: pd.DataFrame, result: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Return rows_in, excluded_by_usage (of parts that take no part), excluded (of the others, by label), accepted,
    quarantined (by reason), class_counts_in (of the parts that take part, before any is held back) and class_counts (of
    the accepted rows)."""
    labels, part = facts["label"], facts["takes_part"]
    other_parts = facts.loc[~part, "usage"].value_counts()
    excluded = labels[part & (result["outcome"] == "excluded")].fillna("unlabelled").value_counts()
    reasons = result["reason"].value_counts()
    came_in = labels[part].value_counts()
    accepted = labels[result["outcome"] == "accepted"].value_counts()
    return {
        "rows_in": len(facts),
        "excluded_by_usage": {str(name): int(count) for name, count in other_parts.sort_index().items()},
        "excluded": {str(name): int(count) for name, count in excluded.sort_index().items()},
        "accepted": int((result["outcome"] == "accepted").sum()),
        "quarantined": {reason: int(reasons[reason]) for reason in REASONS if reason in reasons.index},
        "class_counts_in": {name: int(came_in.get(name, 0)) for name in classes},
        "class_counts": {name: int(accepted.get(name, 0)) for name in classes},
    }


def _hold(result: pd.DataFrame, applies: pd.Series, reason: str, detail: pd.Series) -> None:
    held = applies & (result["outcome"] == "accepted")
    result.loc[held, "outcome"] = "quarantined"
    result.loc[held, "reason"] = reason
    result.loc[held, "detail"] = detail[held].astype(object)


def _voted_no_face(facts: pd.DataFrame) -> pd.Series:
    """Say where more annotators saw no face than chose any one other answer."""
    others = [name for name in facts.columns if name.startswith("votes_") and name != NOT_A_FACE]
    most = facts[others].max(axis=1).fillna(0)
    return facts[NOT_A_FACE].fillna(0) > most


def _votes_in_words(facts: pd.DataFrame) -> pd.Series:
    votes = facts[[name for name in facts.columns if name.startswith("votes_")]].fillna(0).astype(int)
    return votes[NOT_A_FACE].astype(str) + " of " + votes.sum(axis=1).astype(str) + " votes: not a face"


def _conflicting(facts: pd.DataFrame, classes: Sequence[str], *, by: str) -> pd.Series:
    """Return per row the labels of its group, as "fear, sad", where they are several; null elsewhere."""
    labels = facts[facts["label"].isin({*KNOWN_LABELS, *classes})].groupby(by)["label"]
    several = labels.nunique()
    found = labels.unique()[several.index[several > 1]]
    in_words = pd.Series({group: ", ".join(sorted(names)) for group, names in found.items()}, dtype=object)
    return facts[by].map(in_words)


def _hold_copies(facts: pd.DataFrame, result: pd.DataFrame, *, by: str, reason: str, same: str) -> None:
    """Keep one row per group of `by`: a train copy before a val copy before a test copy, then the first."""
    ordered = facts.loc[keep_order(facts), by][result["outcome"] == "accepted"]
    kept = pd.Series(ordered.index, index=ordered).groupby(level=0).first()
    keeper = facts[by].map(kept)
    copies = keeper.notna() & (keeper != facts.index)
    kept_rows = facts.loc[keeper[copies].astype(int)]
    where = kept_rows["source"].astype(str) + " row " + kept_rows["row"].astype(str)
    usage = kept_rows["usage"].map(lambda part: "" if pd.isna(part) else f" ({part})")
    detail = pd.Series(index=facts.index, dtype=object)
    detail[copies] = (same + where + usage + ", which is kept").to_numpy()
    _hold(result, copies, reason, detail)
