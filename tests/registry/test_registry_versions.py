from __future__ import annotations

from typing import Any

import pytest
from mlflow import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, RESOURCE_DOES_NOT_EXIST

from ferops.registry.versions import set_alias, set_tags


class Refusing:
    """A client whose calls fail at first, as where another one inserts the same row at the same moment."""

    def __init__(self, code: int, times: int) -> None:
        self.code, self.times = code, times
        self.done: list[tuple[str, ...]] = []

    def change(self, *arguments: str) -> None:
        if self.times:
            self.times -= 1
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed", error_code=self.code)
        self.done.append(arguments)

    set_model_version_tag = set_registered_model_alias = change


def test_what_two_set_at_once_is_set() -> None:
    client: Any = Refusing(BAD_REQUEST, 1)
    set_tags(client, "ferops", "1", {"a": "x", "b": "y"})
    client.times = 1
    set_alias(client, "ferops", "challenger", "1")
    assert client.done == [("ferops", "1", "a", "x"), ("ferops", "1", "b", "y"), ("ferops", "challenger", "1")]


@pytest.mark.parametrize(("code", "times"), [(BAD_REQUEST, 2), (RESOURCE_DOES_NOT_EXIST, 1)])
def test_other_refusals_are_errors(code: int, times: int) -> None:
    client: Any = Refusing(code, times)
    with pytest.raises(MlflowException, match="IntegrityError"):
        set_tags(client, "ferops", "1", {"a": "x"})
    assert client.done == []
