"""Settings of the split that contradict each other are refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from ferops import config
from ferops.errors import FeropsError
from sample_images import PARAMS_FILE


def _parse(**changes: Any) -> config.Params:
    tree = config.read_yaml(PARAMS_FILE)
    tree["split"] |= changes
    return config.parse(tree, origin="params.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"folds": 5, "official_test": True},
            "split: folds 5 and official_test contradict each other: a fold is drawn",
        ),
        ({"folds": 5, "test_fold": 5}, "split: test_fold 5 does not exist: folds are counted from 0 to 4"),
        ({"test_fold": 2}, "split: test_fold 2 does not exist: set folds, too"),
        ({"folds": 1}, "split: folds is 1: one fold leaves nothing to train on"),
        ({"folds": -1}, "split.folds: Input should be greater than or equal to 0, found -1"),
    ],
)
def test_contradictions_are_said_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FeropsError) as caught:
        _parse(**changes)
    assert said in str(caught.value)
    assert "{" not in str(caught.value)  # not the whole block repeated


@pytest.mark.parametrize("changes", [{}, {"official_test": True}, {"folds": 2, "test_fold": 1}])
def test_one_way_to_the_test_split_is_accepted(changes: dict[str, Any]) -> None:
    settings = _parse(**changes).split
    assert changes.items() <= settings.model_dump().items()
