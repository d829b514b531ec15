"""What becomes of each row: accepted, excluded by its label or part, or quarantined with one reason."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ferops.classes import KNOWN_LABELS
from ferops.config import Validate
from ferops.records.validate import RowCounts
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


def assign_outcomes(facts: pd.DataFrame, settings: Validate, classes: Sequence[str]) -> pd.DataFrame:
    """Return `outcome` (accepted, excluded, quarantined), `reason` (of REASONS, or null) and `detail` per row.

    `facts` holds source, row, label, usage, takes_part (`selection.takes_part`), width, height, any votes_<name>, the
    columns of Measures and cluster (`duplicates.cluster_names`); its index is 0 to N-1, its order breaks ties between
    duplicates. A row has one reason, the first that applies in the order: unknown label, undecodable, too large, too
    small, blank, not a face, label conflict, near label conflict, exact duplicate, near duplicate.

    Excluded rows (of other official splits, with other labels, or without one) count as evidence in a label conflict:
    an image that one row labels `sad` and its copy `neutral` has no sure label. A near label conflict is one within a
    cluster of several images that are not pixel-identical.
    """
    result = pd.DataFrame({"outcome": "accepted", "reason": None, "detail": None}, index=facts.index, dtype="object")

    def quarantine(applies: pd.Series, reason: str, detail: pd.Series) -> None:
        rows = applies & (result["outcome"] == "accepted")
        result.loc[rows, "outcome"] = "quarantined"
        result.loc[rows, "reason"] = reason
        result.loc[rows, "detail"] = detail[rows].astype(object)

    label = facts["label"]
    other_label = label.isin(KNOWN_LABELS) & ~label.isin(classes)
    result.loc[~facts["takes_part"] | label.isna() | other_label, "outcome"] = "excluded"
    shorter, longer = facts[["width", "height"]].min(axis=1), facts[["width", "height"]].max(axis=1)
    size = facts["width"].astype(str) + "x" + facts["height"].astype(str) + " px"
    spread = "grey levels spread by " + facts["grey_std"].round(2).astype(str)
    quarantine(~label.isin(classes), "unknown_label", "the label " + label.astype(str) + " is not known")
    quarantine(~facts["decodes"].astype(bool), "undecodable", facts["problem"])
    quarantine(longer > settings.max_side_px, "too_large", size + f", at most {settings.max_side_px} wanted")
    quarantine(shorter < settings.min_side_px, "too_small", size + f", at least {settings.min_side_px} wanted")
    blank = facts["grey_std"] < settings.blank_std
    quarantine(blank, "blank", spread + f", at least {settings.blank_std:g} wanted")
    if settings.not_a_face == "quarantine" and NOT_A_FACE in facts:
        quarantine(_voted_no_face(facts), "not_a_face", _votes_in_words(facts))
    if settings.label_conflicts == "quarantine":
        labels = _conflicting_labels(facts, classes, by="pixel_hash")
        quarantine(labels.notna(), "label_conflict", "pixel-identical copies are labelled " + labels.astype(str))
    if settings.near_label_conflicts == "quarantine":
        several = facts.groupby("cluster")["pixel_hash"].transform("nunique") > 1
        labels = _conflicting_labels(facts, classes, by="cluster").where(several)
        quarantine(labels.notna(), "near_label_conflict", "altered copies are labelled " + labels.astype(str))
    copies = _surplus_copies(facts, result, by="pixel_hash")
    quarantine(copies.notna(), "exact_duplicate", "the same pixels as " + copies)
    if settings.near_duplicates == "quarantine":
        copies = _surplus_copies(facts, result, by="cluster")
        quarantine(copies.notna(), "near_duplicate", "an altered copy of " + copies)
    return result


def count_rows(facts: pd.DataFrame, result: pd.DataFrame, classes: Sequence[str]) -> RowCounts:
    """Count the rows of `facts` by the outcomes in `result`."""
    labels, part = facts["label"], facts["takes_part"]
    excluded = labels[part & (result["outcome"] == "excluded")].fillna("unlabelled")
    reasons = result["reason"].value_counts()
    accepted = result["outcome"] == "accepted"
    return RowCounts(
        rows_in=len(facts),
        excluded_by_usage=_counts(facts.loc[~part, "usage"]),
        excluded=_counts(excluded),
        accepted=int(accepted.sum()),
        quarantined={reason: int(reasons[reason]) for reason in REASONS if reason in reasons.index},
        class_counts_in={name: int((labels[part] == name).sum()) for name in classes},
        class_counts={name: int((labels[accepted] == name).sum()) for name in classes},
    )


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}


def _voted_no_face(facts: pd.DataFrame) -> pd.Series:
    """Return where more annotators saw no face than chose any one other answer."""
    others = [name for name in facts.columns if name.startswith("votes_") and name != NOT_A_FACE]
    most = facts[others].max(axis=1).fillna(0)
    return facts[NOT_A_FACE].fillna(0) > most


def _votes_in_words(facts: pd.DataFrame) -> pd.Series:
    votes = facts[[name for name in facts.columns if name.startswith("votes_")]].fillna(0).astype(int)
    return votes[NOT_A_FACE].astype(str) + " of " + votes.sum(axis=1).astype(str) + " votes: not a face"


def _conflicting_labels(facts: pd.DataFrame, classes: Sequence[str], *, by: str) -> pd.Series:
    """Return per row the labels of its group, as "fear, sad", where they are several; null elsewhere."""
    labels = facts[facts["label"].isin({*KNOWN_LABELS, *classes})].groupby(by)["label"]
    several = labels.nunique()
    found = labels.unique()[several.index[several > 1]]
    in_words = pd.Series({group: ", ".join(sorted(names)) for group, names in found.items()}, dtype=object)
    return facts[by].map(in_words)


def _surplus_copies(facts: pd.DataFrame, result: pd.DataFrame, *, by: str) -> pd.Series:
    """Return per row which other row of its group of `by` is kept, in words; null where it is kept itself.

    One is: a train copy before a val copy before a test copy, then the first.
    """
    ordered = facts.loc[keep_order(facts), by][result["outcome"] == "accepted"]
    kept = pd.Series(ordered.index, index=ordered).groupby(level=0).first()
    keeper = facts[by].map(kept)
    copies = keeper.notna() & (keeper != facts.index)
    kept_rows = facts.loc[keeper[copies].astype(int)]
    where = kept_rows["source"].astype(str) + " row " + kept_rows["row"].astype(str)
    usage = kept_rows["usage"].map(lambda part: "" if pd.isna(part) else f" ({part})")
    detail = pd.Series(index=facts.index, dtype=object)
    detail[copies] = (where + usage + ", which is kept").to_numpy()
    return detail
