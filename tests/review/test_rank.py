from __future__ import annotations

import pytest

from ferops.review.rank import reasons

SURE = {"happy": 0.9, "sad": 0.06, "fear": 0.04}


def test_a_sure_model_that_agrees_asks_nobody() -> None:
    assert reasons("happy", SURE, other={"happy": 0.6, "sad": 0.4}) == []
    assert reasons(None, SURE) == []
    assert reasons("pain", SURE) == []  # a class that the model does not have


def test_each_reason_is_worth_its_share() -> None:
    found = reasons("fear", {"happy": 0.5, "sad": 0.3, "fear": 0.2}, other={"sad": 0.8, "happy": 0.2}, quality=0.03)
    # Over happy and sad, the first model says 5/8 and 3/8: total variation 0.8 - 3/8
    assert [reason.worth for reason in found] == pytest.approx([0.8, 0.8, 0.425, 0.97])
    assert found[1].words == "labelled fear (20%), the model says happy (50%)"
    assert found[2].words == "two models differ: happy, sad"


def test_models_with_one_common_class_cannot_differ() -> None:
    assert reasons(None, SURE, other={"happy": 0.1, "pain": 0.9}) == []


def test_only_classes_that_both_models_have_are_said_to_differ() -> None:
    (found,) = reasons(None, SURE, other={"neutral": 0.8, "sad": 0.15, "happy": 0.05})
    assert found.words == "two models differ: happy, sad"
