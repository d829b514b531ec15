"""Which rows train, which select the model, which test it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ferops.config import Split as Settings
from ferops.errors import FeropsError
from ferops.split.allocate import allocate
from ferops.tables import Kind
from ferops.validation.connected import connected_groups

SPLITS = ("train", "val", "test")

COLUMNS: dict[str, Kind] = {
    "image_id": "text",
    "label": "text",
    "source": "text",
    "usage": "text or null",
    "subject": "text or null",
    "cluster": "text",
    "connected": "text or null",
}
"""What a split is drawn by."""


def assign(manifest: pd.DataFrame, settings: Settings, *, seed: int) -> pd.DataFrame:
    """Return image_id, split and group (and fold, with `folds`) of every assigned row, sorted by image_id.

    `manifest` has COLUMNS; its order changes nothing. Three ways to the test split:

    - drawn: test_share of the rows.
    - `official_test`: each source's own, that is its rows of usage test, or val where it has no test. The rows that
      are in a group with one of them and are not test rows are left out. A source without official split has no rows in
      test.
    - `folds`: all rows are divided into that many folds, and test is fold number `test_fold`, on which the folds do not
      depend.

    In all three, val is val_share of the assigned rows, drawn from those that are not in test, and train is the rest.

    Raises:
        FeropsError: the shares leave a split empty, or an official test is wanted and no source has one.
    """
    test_share, val_share = wanted_shares(settings)
    if test_share + val_share >= 1:
        raise FeropsError(
            f"{_setting(settings)} and split.val_share {val_share:g} leave nothing to train on; "
            "together they must be below the whole"
        )
    rows = manifest.sort_values("image_id", ignore_index=True)
    rows = rows.assign(group=connected_groups(rows, by=("cluster", "connected")), split="train")
    dropped = pd.Series(False, index=rows.index)
    if settings.official_test:
        test = official_test(rows)
        dropped = ~test & rows["group"].isin(rows.loc[test, "group"])
    elif settings.folds:
        rows["fold"] = _draw(rows, [1 / settings.folds] * settings.folds, seed=seed, asked=_setting(settings))
        test = rows["fold"] == settings.test_fold
    else:
        test = pd.Series(_draw(rows, [test_share, 1 - test_share], seed=seed, asked=_setting(settings)) == 0)
    rows.loc[test, "split"] = "test"
    remaining = rows[~test & ~dropped]
    share = val_share / (1 - test_share)
    if settings.official_test:
        share = val_share * (~dropped).sum() / max(len(remaining), 1)
        if share >= 1:
            raise FeropsError(
                f"split.val_share {val_share:g} of {(~dropped).sum()} rows is more than the {len(remaining)} rows "
                "that remain beside the test split; lower it"
            )
    val = _draw(remaining, [share, 1 - share], seed=seed, asked=f"split.val_share {val_share:g}") == 0
    rows.loc[remaining.index[val], "split"] = "val"
    columns = ["image_id", "split", "group", *(["fold"] if settings.folds else [])]
    return rows.loc[~dropped, columns].reset_index(drop=True)


def wanted_shares(settings: Settings) -> tuple[float, float]:
    """Return the shares of the assigned rows that test and val are to have; 0 for an official test, which is given."""
    if settings.official_test:
        return 0.0, settings.val_share
    return (1 / settings.folds if settings.folds else settings.test_share), settings.val_share


def official_test(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are the official test of their source: usage test, or val where the source has no test."""
    has_test = rows["source"].isin(rows.loc[rows["usage"] == "test", "source"])
    test = (rows["usage"] == "test") | (~has_test & (rows["usage"] == "val"))
    if not test.any():
        raise FeropsError(
            f"split.official_test is true, but no source of {sorted(set(rows['source']))} has rows of usage "
            "test or val. Set it to false to draw test_share, or import a release with its official split"
        )
    return test


def _draw(rows: pd.DataFrame, shares: Sequence[float], *, seed: int, asked: str) -> NDArray[np.int64]:
    split = allocate(rows, shares, seed=seed) if min(shares) > 0 else np.empty(0, dtype=np.int64)
    if len(set(split)) < len(shares):
        raise FeropsError(
            f"{asked} of {len(rows)} rows in {rows['group'].nunique()} groups (people and duplicate clusters stay "
            "together) leaves a split empty. Change it, or import more data"
        )
    return split


def _setting(settings: Settings) -> str:
    if settings.folds:
        return f"split.folds {settings.folds}"
    return "split.official_test" if settings.official_test else f"split.test_share {settings.test_share:g}"
