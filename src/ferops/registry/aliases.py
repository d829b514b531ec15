"""The two aliases of the registered model: `challenger` is set by gates, `champion` by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER = "challenger"
CHAMPION = "champion"


def champion_version(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the version that holds the alias champion, or None (no such model, or nobody promoted yet)."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        # No such model, or a model without that alias; anything else is a failure
        if error.error_code in (ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)):
            return None
        raise
