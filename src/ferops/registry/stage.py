"""The stage `register`: gates decide whether the exported candidate becomes a version with the alias `challenger`."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ferops
from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params, flatten
from ferops.errors import FeropsError
from ferops.files import atomic_folder, read_json, require, write_json
from ferops.layout import Layout
from ferops.provenance import provenance
from ferops.registry.aliases import CHALLENGER, champion_version
from ferops.registry.connection import connected, experiment_id, fluent
from ferops.registry.gates import Gate, judge
from ferops.registry.tracking import find_run, log_metrics, log_training, start_run, weights_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

DIGEST_TAG = "digest"
PYFUNC = Path(ferops.__file__).parent / "inference" / "pyfunc.py"
"""The MLflow model from code; its source is stored with the version, so nothing is pickled."""


def register(layout: Layout, params: Params, *, pyfunc: Path = PYFUNC) -> dict[str, Any]:
    """Judge the candidate, log evaluation and gates to its run, and make it a version if no gate blocks it.

    The same exported files never become a second version. The first version does not become champion: a person
    promotes. A version whose gates fail on a later judgement loses the alias challenger and is tagged so.

    Returns:
        The content of reports/register/summary.json: `version` (None if a gate blocks), `run_id`, `gates` and counts.

    Raises:
        FeropsError: an earlier stage has not run, the store does not answer or stops doing so, an override is wrong,
            or the champion is not the one that the evaluation compared with.
    """
    metrics = read_json(layout.artifacts("evaluate") / "metrics.json", made_by="ferops evaluate")
    require(layout.reports("evaluate"), made_by="ferops evaluate")
    require(layout.exported / "config.json", made_by="ferops export")
    gates = judge(metrics, params.registry)
    with connected(layout) as client:
        summary = _record(client, layout, params, metrics=metrics, gates=gates, pyfunc=pyfunc)
    with atomic_folder(layout.reports("register")) as folder:
        write_json(folder / "summary.json", summary)
    return summary


def export_digest(folder: Path) -> str:
    """Return the SHA-256 of an export folder, without the `provenance` in config.json: every commit changes it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "config.json":
            config = json.loads(content)
            config.pop("provenance", None)
            content = json.dumps(config, sort_keys=True).encode()
        digest.update(f"{path.relative_to(folder).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def _record(
    client: MlflowClient,
    layout: Layout,
    params: Params,
    *,
    metrics: Mapping[str, Any],
    gates: Sequence[Gate],
    pyfunc: Path,
) -> dict[str, Any]:
    """Bring run, version and alias in line with the gates; return the summary. Safe to repeat."""
    _require_same_champion(client, params.registry.model_name, judged=metrics["champion"])
    run_id = _candidate_run(client, layout, params)
    _log_evaluation(client, layout, run_id, metrics=metrics, gates=gates)

    name, digest = params.registry.model_name, export_digest(layout.exported)
    version = _version_of(client, name, digest)
    if any(gate.blocks for gate in gates):
        if version is not None:
            _withdraw(client, name, version)
        version = None
    else:
        if version is None:
            version = _create_version(client, layout, name, run_id=run_id, pyfunc=pyfunc)
        _describe(client, layout, name, version, metrics=metrics, tags={DIGEST_TAG: digest, "gates": _verdict(gates)})
        client.set_registered_model_alias(name, CHALLENGER, version)

    return _summary(client, layout, params, gates=gates, run_id=run_id, version=version)


def _require_same_champion(client: MlflowClient, name: str, *, judged: Mapping[str, Any] | None) -> None:
    """DVC does not see an alias move, so a comparison with a former champion would go on counting."""
    holder = champion_version(client, name)
    now, then = (str(holder.version) if holder else None), (str(judged["version"]) if judged else None)
    if now != then:
        raise FeropsError(
            f"the evaluation compared with {f'champion {then}' if then else 'no champion'}, but {name!r} now has "
            f"{f'champion {now}' if now else 'none'}. Judge again: dvc repro --single-item --force evaluate, then: "
            "dvc repro"
        )


def _candidate_run(client: MlflowClient, layout: Layout, params: Params) -> str:
    """Return the run that trained the candidate; weights that DVC restored may have none here: make it from history."""
    found = find_run(client, weights_digest(layout, "candidate"))
    if found is not None:
        return found
    config = read_json(layout.model("candidate") / "config.json", made_by="ferops train candidate")
    made_from = config.get("provenance") or provenance(layout, params).as_json()
    # Not this machine's environment: the training happened somewhere else
    run_id = start_run(client, params, "candidate", made_from=made_from, where={"ferops.restored": "true"})
    log_training(client, layout, "candidate", run_id, logged=set())
    client.set_terminated(run_id)
    return run_id


def _log_evaluation(
    client: MlflowClient, layout: Layout, run_id: str, *, metrics: Mapping[str, Any], gates: Sequence[Gate]
) -> None:
    numbers = flatten({key: metrics[key] for key in metrics if key != "provenance"}, separator="/")
    log_metrics(client, run_id, {f"test/{key.removesuffix('/value')}": value for key, value in numbers.items()})
    client.log_artifacts(run_id, str(layout.reports("evaluate")), "evaluate")
    client.log_artifact(run_id, str(layout.artifacts("evaluate") / "metrics.json"), "evaluate")
    client.log_dict(run_id, {"gates": [asdict(gate) for gate in gates]}, "evaluate/gates.json")
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


def _create_version(client: MlflowClient, layout: Layout, name: str, *, run_id: str, pyfunc: Path) -> str:
    from mlflow.exceptions import MlflowException

    with _without_advice():
        import mlflow.pyfunc

    with _without_advice(), fluent(client), mlflow.start_run(run_id=run_id):
        model = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(require(pyfunc, made_by="the ferops package")),
            artifacts={"export": str(layout.exported.resolve())},
            signature=_signature(layout),
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


def _signature(layout: Layout) -> ModelSignature:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    size_px = read_json(layout.exported / "config.json", made_by="ferops export")["size_px"]
    return ModelSignature(
        # Unnamed: a named tensor reaches `predict` wrapped in a dict
        inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, size_px, size_px, 3))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, len(DEFAULT_CLASSES)))]),
    )


def _describe(
    client: MlflowClient,
    layout: Layout,
    name: str,
    version: str,
    *,
    metrics: Mapping[str, Any],
    tags: Mapping[str, str],
) -> None:
    made_from, candidate = metrics["provenance"], metrics["candidate"]
    every = {key: made_from[key] for key in ("data_version", "split_hash", "git_commit", "preset", "synthetic")}
    every |= {score: f"{candidate[score]['value']:.4f}" for score in ("accuracy", "macro_f1")} | dict(tags)
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
) -> dict[str, Any]:
    name, uri = params.registry.model_name, client.tracking_uri
    server = uri.rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    page = f"models/{name}/versions/{version}" if version else f"experiments/{experiment_id(client)}/runs/{run_id}"
    look = f"{server}/#/{page}" if uri.startswith("http") else f"make up, then {server}/#/{page}"
    return {
        "stage": "register",
        "provenance": provenance(layout, params).as_json(),
        "version": version,
        "alias": CHALLENGER if version else None,
        "model_uri": f"models:/{name}/{version}" if version else None,
        "run_id": run_id,
        "tracking_uri": uri,
        "gates_passed": sum(gate.passed for gate in gates),
        "gates_overridden": sum(gate.overridden is not None for gate in gates),
        "gates_failed": sum(gate.blocks for gate in gates),
        "failed": {gate.name: gate.reason for gate in gates if gate.blocks},
        "look": look,
        "promote": f"ferops promote {version}" if version else None,
        "gates": [asdict(gate) for gate in gates],
    }
