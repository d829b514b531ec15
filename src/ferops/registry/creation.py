"""How exported files become a version: once, whoever registers them at the same time, and whole, wherever a kill falls.

MLflow numbers versions in a transaction, so of several that register the same files at once each sees the versions
before its own. A new version is `pending` until its maker has looked for an earlier one of the same files; the later
ones are removed, by whoever sees them next.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import ferops
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.model_config import ExportConfig, export_digest
from ferops.registry.connection import experiment_id, fluent
from ferops.registry.signing import statements
from ferops.registry.tracking import MAKER_TAG, maker
from ferops.registry.trust import trusted_keys
from ferops.registry.versions import DIGEST_TAG, SCHEME, copy_files, file_digests
from ferops.scratch import scratch_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

PYFUNC = Path(ferops.__file__).parent / "inference" / "pyfunc.py"
"""The MLflow model from code; its source is stored with the version, so nothing is pickled."""

PENDING_TAG = "ferops.pending"


def same_files(client: MlflowClient, layout: Layout, name: str) -> list[tuple[str, dict[str, str]]]:
    """Return the versions that hold the exported files, lowest number first, each with its files and their SHA-256.

    The tag `digest` only says where to look: a version counts if its files are byte for byte the exported ones, or
    those of a trusted key's statement on the same digest (their provenance may differ). Later ones that are pending
    are removed.
    """
    digest, exported = export_digest(layout.exported), file_digests(layout.exported)
    trusted = trusted_keys(layout)
    known = []
    for version in sorted(_tagged(client, name, digest), key=lambda each: int(each.version)):
        signed = [each.files for key, each in statements(version) if key in trusted and each.digest == digest]
        with (
            scratch_folder(layout.state, "version") as scratch,
            suppress(FeropsError),
        ):  # no files, no version
            files = file_digests(copy_files(client, version, scratch / "model"))
            if files == exported or files in signed:
                known.append((version, files))
    for version, _ in known[1:]:
        if PENDING_TAG in version.tags:
            _delete(client, version)
    if known and PENDING_TAG in known[0][0].tags:
        client.delete_model_version_tag(name, str(known[0][0].version), PENDING_TAG)
    return [
        (str(version.version), files)
        for place, (version, files) in enumerate(known)
        if place == 0 or PENDING_TAG not in version.tags
    ]


def last_signed(client: MlflowClient, layout: Layout, name: str) -> str | None:
    """Return when a trusted key last signed a statement on these files, by the clock that it was signed by."""
    trusted = trusted_keys(layout)
    found = _tagged(client, name, export_digest(layout.exported))
    times = [each.signed_at for version in found for key, each in statements(version) if key in trusted]
    return max(times, default=None)


def create(
    client: MlflowClient,
    layout: Layout,
    name: str,
    *,
    run_id: str,
    config: ExportConfig,
    tags: Mapping[str, str],
    description: str,
) -> None:
    """Store the exported files as a model of the run and make it a pending version, which `same_files` then settles."""
    from mlflow.entities import LoggedModelOutput

    # The run stays as it ended: `mlflow.start_run` would set it RUNNING, and a kill would leave it so
    run = client.get_run(run_id)
    model = client.create_logged_model(
        experiment_id(client),
        name="model",
        source_run_id=run_id,
        tags={MAKER_TAG: maker(layout)},
        params=run.data.params,
    )
    # What `mlflow.pyfunc.log_model` does, which asks the server for the history of each of hundreds of figures
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.log_batch(run_id, metrics=_figures(run, model.model_id))
    with _without_advice(), _temporary_files(layout) as scratch:
        _save_model(layout, scratch / "model", model=model, run_id=run_id, config=config)
        client.log_model_artifacts(model.model_id, str(scratch / "model"))
    client.finalize_logged_model(model.model_id, "READY")
    with _tolerating("RESOURCE_ALREADY_EXISTS"):
        client.create_registered_model(name, description="Facial-expression classifiers made by ferops.")
    with fluent(client):  # a SQL store looks up the logged model through MLflow's global address
        client.create_model_version(
            name,
            f"{SCHEME}/{model.model_id}",
            run_id=run_id,
            tags={**tags, DIGEST_TAG: export_digest(layout.exported), PENDING_TAG: "true"},
            description=description,
            model_id=model.model_id,
        )


def _figures(run: Run, model_id: str) -> list[Metric]:
    """Return the run's figures as those of the model, without curves: what was measured once, at step 0."""
    from mlflow.entities import Metric

    every = run.data.to_proto().metrics
    return [Metric(each.key, each.value, each.timestamp, 0, model_id=model_id) for each in every if each.step == 0]


def _save_model(layout: Layout, folder: Path, *, model: LoggedModel, run_id: str, config: ExportConfig) -> None:
    """Write the exported files as a model of MLflow's below `folder`."""
    from mlflow import pyfunc
    from mlflow.models import Model

    pyfunc.save_model(
        folder,
        mlflow_model=Model(
            artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run_id, model_id=model.model_id
        ),
        python_model=str(PYFUNC),
        artifacts={"export": os.path.relpath(layout.exported)},  # MLmodel keeps this path
        signature=_signature(config),
        # Written down: inferring them would load the model in a child process
        pip_requirements=[
            f"{each}=={installed(each)}" for each in ("ferops", "mlflow", "numpy", "onnxruntime", "openvino")
        ],
    )


def remove_begun_models(client: MlflowClient, layout: Layout) -> None:
    """Remove the models that a killed `register` of this folder stored and made no version. The caller has its lock."""
    begun = f"tags.`{MAKER_TAG}` = '{maker(layout)}'"
    for model in client.search_logged_models([experiment_id(client)], filter_string=begun):
        if client.search_model_versions(f"source_path = '{SCHEME}/{model.model_id}'"):
            client.delete_logged_model_tag(model.model_id, MAKER_TAG)
        else:
            client.delete_logged_model(model.model_id)


def _tagged(client: MlflowClient, name: str, digest: str) -> list[ModelVersion]:
    return list(client.search_model_versions(f"name = '{name}' and tags.{DIGEST_TAG} = '{digest}'"))


def _delete(client: MlflowClient, version: ModelVersion) -> None:
    """Remove a version and its model, unless somebody else has done so."""
    with _tolerating("RESOURCE_DOES_NOT_EXIST"):
        client.delete_model_version(version.name, str(version.version))
        client.delete_logged_model(str(version.source).removeprefix(f"{SCHEME}/"))


@contextmanager
def _tolerating(code: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != code:
            raise


@contextmanager
def _temporary_files(layout: Layout) -> Iterator[Path]:
    """Yield a folder that the next start removes, if a kill leaves it; MLflow's temporary files go there, too."""
    before = tempfile.tempdir
    with scratch_folder(layout.state, "version") as scratch:
        tempfile.tempdir = str(scratch.resolve())
        try:
            yield scratch
        finally:
            tempfile.tempdir = before


@contextmanager
def _without_advice() -> Iterator[None]:
    """MLflow warns about its own type hints on import, and advises what an explicit signature makes needless."""
    needless = ("Any type hint is inferred as AnyType", "Add type hints to the `predict`", "An input example was not")
    with warnings.catch_warnings(record=True) as caught:  # MLflow sets filters of its own, so ours would not do
        warnings.simplefilter("always")
        yield
    for each in caught:
        if not any(message in str(each.message) for message in needless):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _signature(config: ExportConfig) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    return ModelSignature(
        # Unnamed: a named tensor reaches `predict` wrapped in a dict
        inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, config.size_px, config.size_px, 3))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, len(config.classes)))]),
    )
