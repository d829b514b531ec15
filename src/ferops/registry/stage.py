"""The stage `register`: gates decide whether the exported candidate becomes a version with the alias `challenger`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

import ferops
from ferops.config import Params, flatten
from ferops.errors import FeropsError
from ferops.files import atomic_folder, require, sha256, write_text
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig, export_digest, read_model_config
from ferops.provenance import provenance
from ferops.records.metrics import Metrics
from ferops.records.register import Gate, RegisterSummary
from ferops.records.signature import Statement, verdict
from ferops.registry.card import decided, gates_table
from ferops.registry.connection import connected, experiment_id
from ferops.registry.creation import create, last_signed, remove_begun_models, same_files
from ferops.registry.figures import PROBES, Probes, read_probes
from ferops.registry.gates import evaluate_gates
from ferops.registry.policy import policy_gate
from ferops.registry.signing import note_verdict, sign
from ferops.registry.store import own_database
from ferops.registry.tracking import (
    MAKER_TAG,
    find_run,
    log_metrics,
    log_training,
    remove_begun_runs,
    set_run_tags,
    start_run,
    weights_digest,
)
from ferops.registry.versions import (
    CHALLENGER,
    all_versions,
    champion_version,
    file_digests,
    set_alias,
    set_tags,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SIZES = {"faces", "images"}
"""Figures that say how much was tried: tags of the run, for a chart of them says nothing."""


def register(layout: Layout, params: Params) -> RegisterSummary:
    """Apply the gates, log evaluation and gates to the candidate's run, and make it a version if no gate blocks it.

    The same exported files never become a second version. The first version does not become champion: a person
    promotes. A version whose gates fail in a later evaluation loses the alias challenger and is tagged so.

    Raises:
        FeropsError: an earlier stage has not run, the store does not answer or stops doing so, an override is wrong,
            or export or champion are not those of the evaluation.
    """
    metrics = Metrics.read(layout.artifacts("evaluate") / "metrics.json", made_by="ferops evaluate")
    require(layout.reports("evaluate"), made_by="ferops evaluate")
    config = read_model_config(layout.exported, ExportConfig)
    _require_same_export(layout, metrics)
    probes = read_probes(layout, metrics.provenance)
    rules = evaluate_gates(metrics, params.registry, probes=probes)
    layout.state.mkdir(parents=True, exist_ok=True)
    # What this folder has begun and not ended is then left by a kill
    with FileLock(layout.state / "register.lock"), connected(layout) as client:
        remove_begun_runs(client, layout, params.export.model)
        remove_begun_models(client, layout)
        summary = _record(client, layout, params, metrics=metrics, rules=rules, config=config)
        remove_begun_models(client, layout)
        _log_probes(client, layout, summary.run_id, probes)
        card = (layout.reports("evaluate") / "model_card.md").read_text(encoding="utf-8")
        card = decided(card, summary, all_versions(client, params.registry.model_name))
        client.log_text(summary.run_id, card, "register/model_card.md")
    with atomic_folder(layout.reports("register")) as folder:
        summary.write(folder / "summary.json")
        write_text(folder / "model_card.md", card)
    return summary


def _record(
    client: MlflowClient,
    layout: Layout,
    params: Params,
    *,
    metrics: Metrics,
    rules: tuple[Gate, ...],
    config: ExportConfig,
) -> RegisterSummary:
    """Bring run, version and alias in line with the gates; return the summary. Safe to repeat."""
    name = params.registry.model_name
    _require_same_champion(client, name, compared=metrics.champion.version if metrics.champion else None)
    run_id = _candidate_run(client, layout, params.export.model)
    policy, change, looks = policy_gate(client, run_id, params.registry, split_hash=metrics.provenance.split_hash)
    gates = (*rules, policy)
    _log_evaluation(client, layout, run_id, metrics=metrics, gates=gates)

    signed_at = _after(last_signed(client, layout, name))

    def tags(files: dict[str, str]) -> dict[str, str]:
        statement = _statement(layout, name, metrics=metrics, gates=gates, files=files, signed_at=signed_at)
        return {"gates": statement.verdict, **sign(layout, statement)}

    blocked, version = verdict(gates) == "failed", None
    known = same_files(client, layout, name)
    if blocked:
        note_verdict(layout, export_digest(layout.exported), failed=True)
        for number, files in known:
            _withdraw(client, name, number, tags=tags(files))
    else:
        about, head = _about(metrics), _card_head(layout.reports("evaluate") / "model_card.md")
        if not known:
            every = about | tags(file_digests(layout.exported))
            create(client, layout, name, run_id=run_id, config=config, tags=every, description=head)
            known = same_files(client, layout, name)
        version, files = known[0]
        _describe(client, name, version, tags=about | tags(files), description=head)
        note_verdict(layout, export_digest(layout.exported), failed=False)
        set_alias(client, name, CHALLENGER, version)

    summary = _summary(client, layout, params, gates=gates, run_id=run_id, version=version)
    return summary.model_copy(update={"policy_change": change, "looks": looks})


def _statement(
    layout: Layout, name: str, *, metrics: Metrics, gates: tuple[Gate, ...], files: dict[str, str], signed_at: str
) -> Statement:
    return Statement(
        model=name,
        digest=export_digest(layout.exported),
        files=files,
        gates=gates,
        metrics=sha256(layout.artifacts("evaluate") / "metrics.json"),
        **metrics.provenance.model_dump(include={"data_version", "split_hash", "git_commit"}),
        ferops_version=ferops.__version__,
        signed_at=signed_at,
    )


def _require_same_export(layout: Layout, metrics: Metrics) -> None:
    """An export that was made anew, or replaced, after the evaluation has been judged by nobody."""
    if metrics.export_digest not in (None, export_digest(layout.exported)):
        raise FeropsError(
            f"{layout.exported} is not what the evaluation judged: its files have changed since. "
            "Evaluate again: dvc repro"
        )


def _after(last: str | None) -> str:
    """Return the time to sign with. The latest statement counts, so one made by a clock that is ahead must not win."""
    now = datetime.now(UTC)
    if last is not None:
        now = max(now, datetime.fromisoformat(last) + timedelta(microseconds=1))
    return now.isoformat(timespec="microseconds")


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


def _candidate_run(client: MlflowClient, layout: Layout, name: str) -> str:
    """Return the run that trained the model; made here for one that was not trained, or restored weights."""
    found = find_run(client, weights_digest(layout, name))
    if found is not None:
        if client.get_run(found).info.status == "RUNNING":  # ferops 0.1 left it so when it was killed in `register`
            client.set_terminated(found)
        return found
    config = read_model_config(layout.model(name), ModelConfig)
    # Not this machine's environment: the training happened somewhere else
    where = {"ferops.restored": "true"}
    if parts := [one.name for one in config.members or config.ingredients]:
        verb = "ensemble" if config.members else "soup"
        where = {"mlflow.source.name": " ".join(["ferops", verb, name, *parts])}
    if done := config.adjusted:
        where = {"mlflow.source.name": f"ferops adjust {done.name} --share {done.share:g} --name {name}"}
    run_id = start_run(client, layout, name, made_from=config.provenance, where=where)
    log_training(client, layout, name, run_id, logged=set())
    client.set_terminated(run_id)
    client.delete_tag(run_id, MAKER_TAG)
    return run_id


def _log_evaluation(
    client: MlflowClient, layout: Layout, run_id: str, *, metrics: Metrics, gates: tuple[Gate, ...]
) -> None:
    numbers = flatten(metrics.model_dump(mode="json", exclude={"provenance"}), separator="/")
    log_metrics(client, run_id, {f"test/{key.removesuffix('/value')}": value for key, value in numbers.items()})
    client.log_artifacts(run_id, str(layout.reports("evaluate")), "evaluate")
    client.log_artifact(run_id, str(layout.artifacts("evaluate") / "metrics.json"), "evaluate")
    client.log_artifact(run_id, str(layout.artifacts("evaluate") / "end_to_end.parquet"), "evaluate")
    client.log_dict(run_id, {"gates": [gate.as_json() for gate in gates]}, "evaluate/gates.json")
    tags = {"tta": metrics.candidate.tta, "gates": verdict(gates), "mlflow.note.content": gates_table(gates)}
    set_run_tags(client, run_id, tags | {f"gate.{gate.name}": _outcome(gate) for gate in gates})


def _log_probes(client: MlflowClient, layout: Layout, run_id: str, probes: Probes) -> None:
    """Add the pages of explain, robustness and fairness, and the figures of the latter two; how many, as tags."""
    for stage in ("explain", *PROBES):
        if layout.reports(stage).exists():
            client.log_artifacts(run_id, str(layout.reports(stage)), stage)
    for stage, figures in probes.items():
        log_metrics(client, run_id, {f"{stage}/{key}": value for key, value in figures.items() if key not in _SIZES})
        set_run_tags(client, run_id, {f"{stage}.{key}": str(figures[key]) for key in _SIZES & figures.keys()})


def _outcome(gate: Gate) -> str:
    if gate.passed:
        return f"passed: {gate.reason}"
    return f"failed: {gate.reason}" + (f"; overridden: {gate.overridden}" if gate.overridden else "")


def _about(metrics: Metrics) -> dict[str, str]:
    """Return a version's tags on what it was made from, and how good it is."""
    made_from, candidate = metrics.provenance, metrics.candidate
    every = made_from.model_dump(include={"data_version", "split_hash", "git_commit", "preset", "synthetic"})
    figures = {"accuracy": candidate.accuracy.value, "macro_f1": candidate.macro_f1.value}
    every |= {key: f"{value:.4f}" for key, value in figures.items() if value is not None}  # its gate was overridden
    return {key: str(value) for key, value in (every | {"tta": candidate.tta}).items()}


def _describe(client: MlflowClient, name: str, version: str, *, tags: Mapping[str, str], description: str) -> None:
    """Set what differs: a tag is two requests, and a version that was just made has them all."""
    now = client.get_model_version(name, version)
    set_tags(client, name, version, {key: value for key, value in tags.items() if now.tags.get(key) != value})
    if now.description != description:
        client.update_model_version(name, version, description=description)


def _card_head(card: Path) -> str:
    """Return the card's first 12 lines of text, without the YAML header that model cards may start with."""
    text = require(card, made_by="ferops evaluate").read_text(encoding="utf-8")
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    return "\n".join(text.strip().splitlines()[:12])


def _withdraw(client: MlflowClient, name: str, version: str, *, tags: Mapping[str, str]) -> None:
    set_tags(client, name, version, tags)
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
