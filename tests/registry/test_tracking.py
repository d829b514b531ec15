"""What several clients of one MLflow server meet."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import MlflowException

from ferops.registry.tracking import _log_input

DATA = DatasetInput(Dataset(name="fer2013", digest="0123", source_type="dvc", source="{}"))
TAKEN = "BAD_REQUEST: (sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id, datasets.name"


class Client:
    """Refuses in these words, one after the other, and then takes the data set."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.logged: list[Any] = []

    def log_inputs(self, run_id: str, datasets: list[Any]) -> None:
        if self.refusals:
            raise MlflowException(self.refusals.pop(0))
        self.logged.append((run_id, datasets))


def test_a_data_set_that_another_adds_at_the_same_moment_is_logged_all_the_same() -> None:
    for refusals in ((), (TAKEN,)):
        client = Client(*refusals)
        _log_input(client, "run", DATA)  # type: ignore[arg-type]
        assert client.logged == [("run", [DATA])]


@pytest.mark.parametrize("refusals", [("no space left",), (TAKEN, TAKEN)])
def test_what_is_no_race_is_an_error(refusals: tuple[str, ...]) -> None:
    client = Client(*refusals)
    with pytest.raises(MlflowException, match=refusals[0][:8]):
        _log_input(client, "run", DATA)  # type: ignore[arg-type]
    assert not client.logged
