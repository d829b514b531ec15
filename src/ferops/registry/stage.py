"""The stage `register`: gates decide whether the exported candidate becomes a version with the alias `challenger`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import ferops
from ferops.config import Params, flatten
from ferops.errors import FeropsError
from ferops.files import atomic_folder, require
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig, read_model_config
from ferops.provenance import provenance
from ferops.records.metrics import Metrics
from ferops.records.register import Gate, RegisterSummary
from ferops.registry.connection import connected, experiment_id, fluent
from ferops.registry.gates import evaluate_gates
from ferops.registry.store import own_database
from ferops.registry.tracking import find_run, log_metrics, log_training, start_run, weights_digest
from ferops.registry.versions import CHALLENGER, DIGEST_TAG, champion_version, export_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

PYFUNC = Path(ferops.__file__).parent / "inference" / "pyfunc.py"
"""The MLflow model from code; its source is stored with the version, so nothing is pickled."""


def register(layout: Layout, params: Params) -> RegisterSummary:
    """Apply the gates, log evaluation and gates to the candidate's run, and make it a version if no gate blocks it.

    The same exported files never become a second version. The first version does not become champion: a person
    promotes. A version whose gates fail in a later evaluation loses the alias challenger and is tagged so.

    Raises:
        FeropsError: an earlier stage has not run, the store does not answer or stops doing so, an override is wrong,
            or the champion is not the one that the evaluation compared with.
    """
    metrics = Metrics.read(layout.artifacts("evaluate") / "metrics.json", made_by="ferops evaluate")
    require(layout.reports("evaluate"), made_by="ferops evaluate")
    config = read_model_config(layout.exported, ExportConfig)
    gates = evaluate_gates(metrics, params.registry)
    with connected(layout) as client:
        summary = _record(client, layout, params, metrics=metrics, gates=gates, config=config)
    with atomic_folder(layout.reports("register")) as folder:
        summary.write(folder / "summary.json")
    return summary


def _record(
    client: MlflowClient,
    layout: Layout,
    params: Params,
    *,
    metrics: Metrics,
    gates: Sequence[Gate],
    config: ExportConfig,
) -> RegisterSummary:
    """Bring run, version and alias in line with the gates; return the summary. Safe to repeat."""
    _require_same_champion(
        client, params.registry.model_name, compared=metrics.champion.version if metrics.champion else None
    )
    run_id = _candidate_run(client, layout)
    _log_evaluation(client, layout, run_id, metrics=metrics, gates=gates)

    name, digest = params.registry.model_name, export_digest(layout.exported)
    version = _version_of(client, name, digest)
    if any(gate.blocks for gate in gates):
        if version is not None:
            _withdraw(client, name, version)
        version = None
    else:
        if version is None:
            version = _create_version(client, layout, name, run_id=run_id, config=config)
        _describe(client, layout, name, version, metrics=metrics, tags={DIGEST_TAG: digest, "gates": _verdict(gates)})
        client.set_registered_model_alias(name, CHALLENGER, version)

    return _summary(client, layout, params, gates=gates, run_id=run_id, version=version)


def _require_same_champion(client: MlflowClient, name: str, *, compared: str | None) -> None:
    """DVC does not see an alias move, so a comparison with a former champion would go on counting."""
    holder = champion_version(client, name)
    now = str(holder.version) if holder else None
    if now != compared:
        raise FeropsError(
            f"the evaluation compared with {f'champion {compared}' if compared else 'no champion'}, but {name!r} now "
            f"has {f'champion {now}' if now else 'none'}. Evaluate again: dvc repro --single-item --force evaluate, "
            "then: dvc repro"
        )


def _candidate_run(client: MlflowClient, layout: Layout) -> str:
    """Return the run that trained the candidate; for weights that DVC restored, make one from their history."""
    found = find_run(client, weights_digest(layout, "candidate"))
    if found is not None:
        return found
    made_from = read_model_config(layout.model("candidate"), ModelConfig).provenance
    # Not this machine's environment: the training happened somewhere else
    run_id = start_run(client, "candidate", made_from=made_from, where={"ferops.restored": "true"})
    log_training(client, layout, "candidate", run_id, logged=set())
    client.set_terminated(run_id)
    return run_id


def _log_evaluation(
    client: MlflowClient, layout: Layout, run_id: str, *, metrics: Metrics, gates: Sequence[Gate]
) -> None:
    numbers = flatten(metrics.model_dump(mode="json", exclude={"provenance"}), separator="/")
    log_metrics(client, run_id, {f"test/{key.removesuffix('/value')}": value for key, value in numbers.items()})
    client.log_artifacts(run_id, str(layout.reports("evaluate")), "evaluate")
    client.log_artifact(run_id, str(layout.artifacts("evaluate") / "metrics.json"), "evaluate")
    client.log_dict(run_id, {"gates": [gate.as_json() for gate in gates]}, "evaluate/gates.json")
    client.set_tag(run_id, "gates", _verdict(gates))
    for gate in gates:
        client.set_tag(run_id, f"gate.{gate.name}", _outcome(gate))
    client.set_tag(run_id, "mlflow.note.content", gates_table(gates))


def gates_table(gates: Sequence[Gate]) -> str:
    """Return the gates as a Markdown table, for the run's page."""
    rows = [f"| {gate.name} | {gate.wanted} | {_outcome(gate)} |" for gate in gates]
    return "\n".join(["| gate | wanted | outcome |", "|---|---|---|", *rows])


def _outcome(gate: Gate) -> str:
    if gate.passed:
        return f"passed: {gate.reason}"
    return f"failed: {gate.reason}" + (f"; overridden: {gate.overridden}" if gate.overridden else "")


def _verdict(gates: Sequence[Gate]) -> str:
    if any(gate.blocks for gate in gates):
        return "failed"
    return "passed" if all(gate.passed for gate in gates) else "overridden"


def _version_of(client: MlflowClient, name: str, digest: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}' and tags.{DIGEST_TAG} = '{digest}'", max_results=1)
    return str(found[0].version) if found else None


def _create_version(client: MlflowClient, layout: Layout, name: str, *, run_id: str, config: ExportConfig) -> str:
    from mlflow.exceptions import MlflowException

    with _without_advice():
        import mlflow.pyfunc

    with _without_advice(), fluent(client), mlflow.start_run(run_id=run_id):
        model = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PYFUNC),
            artifacts={"export": os.path.relpath(layout.exported)},  # MLmodel keeps this path
            signature=_signature(config),
            # Written down: inferring them would load the model in a child process
            pip_requirements=[
                f"{each}=={installed(each)}" for each in ("ferops", "mlflow", "numpy", "onnxruntime", "openvino")
            ],
        )
        try:
            client.get_registered_model(name)
        except MlflowException:
            client.create_registered_model(name, description="Facial-expression classifiers made by ferops.")
        tags = {DIGEST_TAG: export_digest(layout.exported)}
        # Inside the block too: a SQL store looks up the logged model through MLflow's global address
        made = client.create_model_version(name, model.model_uri, run_id=run_id, tags=tags, model_id=model.model_id)
    return str(made.version)


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


def _describe(
    client: MlflowClient,
    layout: Layout,
    name: str,
    version: str,
    *,
    metrics: Metrics,
    tags: Mapping[str, str],
) -> None:
    made_from, candidate = metrics.provenance, metrics.candidate
    every = made_from.model_dump(include={"data_version", "split_hash", "git_commit", "preset", "synthetic"})
    every |= {"accuracy": f"{candidate.accuracy.value:.4f}", "macro_f1": f"{candidate.macro_f1.value:.4f}"} | dict(tags)
    for key, value in every.items():
        client.set_model_version_tag(name, version, key, str(value))
    client.update_model_version(name, version, description=_card_head(layout.reports("evaluate") / "model_card.md"))


def _card_head(card: Path) -> str:
    """Return the card's first 12 lines of text, without the YAML header that model cards may start with."""
    text = require(card, made_by="ferops evaluate").read_text(encoding="utf-8")
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    return "\n".join(text.strip().splitlines()[:12])


def _withdraw(client: MlflowClient, name: str, version: str) -> None:
    client.set_model_version_tag(name, version, "gates", "failed")
    if str(client.get_registered_model(name).aliases.get(CHALLENGER, "")) == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _summary(
    client: MlflowClient, layout: Layout, params: Params, *, gates: Sequence[Gate], run_id: str, version: str | None
) -> RegisterSummary:
    name, uri = params.registry.model_name, client.tracking_uri
    remote = uri.startswith("http")
    page = f"models/{name}/versions/{version}" if version else f"experiments/{experiment_id(client)}/runs/{run_id}"
    url = f"{uri.rstrip('/') if remote else 'http://127.0.0.1:5000'}/#/{page}"
    return RegisterSummary(
        provenance=provenance(layout, params),
        version=version,
        alias=CHALLENGER if version else None,
        model_uri=f"models:/{name}/{version}" if version else None,
        run_id=run_id,
        # No absolute path: the project may move
        tracking_uri="sqlite:///mlflow.db" if uri == f"sqlite:///{own_database(layout)}" else uri,
        gates_passed=sum(gate.passed for gate in gates),
        gates_overridden=sum(gate.overridden is not None for gate in gates),
        gates_failed=sum(gate.blocks for gate in gates),
        failed={gate.name: gate.reason for gate in gates if gate.blocks},
        page=url if remote else f"make up, then {url}",
        promote=f"ferops promote {version}" if version else None,
        gates=tuple(gates),
    )
