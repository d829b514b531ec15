"""prefect.yaml and prefect.toml agree with the flows; the flows are called without a server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from ferops.errors import FeropsError
from ferops.local import stack
from ferops.local.prefect_api import WORK_POOL
from ferops.orchestration import dag

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def flows() -> dict[str, Any]:
    """The deployed flows by `flow/deployment`, loaded from their entrypoints as the worker does."""
    from prefect.flows import load_flow_from_entrypoint

    tree = _deployments()
    loaded = [load_flow_from_entrypoint(str(ROOT / each["entrypoint"]), use_placeholder_flow=False) for each in tree]
    return {f"{flow.name}/{each['name']}": flow for flow, each in zip(loaded, tree, strict=True)}


def _deployments() -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"])


def test_the_deployments_are_those_that_the_documents_name(flows: dict[str, Any]) -> None:
    assert set(flows) == {"pipeline/local", "package/local", "monitor/local"}


def test_the_pipeline_runs_one_at_a_time_and_its_schedule_waits_for_a_person() -> None:
    pipeline, package, monitor = _deployments()
    assert pipeline["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert [schedule["active"] for schedule in pipeline["schedules"]] == [False]
    assert [schedule["active"] for schedule in package["schedules"]] == [True]
    assert package["schedules"][0]["interval"] >= 3600  # runs that find nothing to do bury the others
    assert [schedule["active"] for schedule in monitor["schedules"]] == [False]
    assert {each["work_pool"]["name"] for each in (pipeline, package, monitor)} == {WORK_POOL}


@pytest.mark.parametrize("name", ["prefect.yaml", "prefect.toml"])
def test_no_machine_path_is_committed(name: str) -> None:
    assert not re.search(r"(?<![\w:/.])/[a-z]+/", (ROOT / name).read_text(encoding="utf-8"))


def test_prefect_reads_its_settings_from_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import Settings

    for name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_SERVER_ANALYTICS_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)
    settings = Settings()
    assert settings.home == Path(".prefect")
    assert settings.api.url == "http://127.0.0.1:4200/api"
    assert settings.server.analytics_enabled is False
    assert settings.server.ui.show_promotional_content is False
    assert settings.worker.query_seconds == 2
    assert settings.server.deployments.concurrency_slot_wait_seconds == 5
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4999/api")
    assert Settings().api.url == "http://127.0.0.1:4999/api"


def test_every_parameter_is_explained_in_the_form(flows: dict[str, Any]) -> None:
    properties = flows["pipeline/local"].parameters.properties
    assert set(properties) == {"force", "until", "only"}
    assert all(len(each["description"]) > 20 and "default" in each for each in properties.values())
    assert {name: each["type"] for name, each in properties.items()} == {
        "force": "boolean",
        "until": "string",
        "only": "string",
    }


def test_the_pipeline_runs_the_stages_in_order(flows: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ran = _record_stages(flows, monkeypatch)
    flows["pipeline/local"].fn(force=True, until="split")
    assert ran == [("validate", True), ("split", True)]
    ran.clear()
    flows["pipeline/local"].fn(only="train@candidate")
    assert ran == [("train@candidate", False)]
    with pytest.raises(FeropsError, match="no stage 'trian'"):
        flows["pipeline/local"].fn(until="trian")


def test_a_stage_leaves_its_summary_as_an_artifact(
    flows: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    summary = tmp_path / "reports" / "train" / "baseline" / "summary.json"
    summary.parent.mkdir(parents=True)
    summary.write_text(json.dumps({"stage": "train baseline", "epochs": 8}), encoding="utf-8")
    lines: list[str] = []
    made: list[dict[str, str]] = []
    module = flows["pipeline/local"].fn.__globals__

    class Logger:
        info = staticmethod(lines.append)

    def run(_root: Path, stage: str, *, on_line: Any, force: bool) -> None:
        on_line(f"{stage} {force}")

    monkeypatch.setattr(dag, "reproduce", run)
    monkeypatch.setitem(module, "get_run_logger", Logger)
    monkeypatch.setitem(module, "create_markdown_artifact", lambda **fields: made.append(fields))
    module["reproduce"].fn("train@baseline", False)
    assert lines == ["train@baseline False"]
    assert [each["key"] for each in made] == ["train-baseline-summary"]
    assert "| epochs | 8 |" in made[0]["markdown"]


def test_drift_starts_the_pipeline_once_a_week_where_someone_wants_it() -> None:
    from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger

    (trigger,) = _deployments()[0]["triggers"]
    parsed = DeploymentEventTrigger.model_validate(trigger)
    assert not parsed.enabled
    assert (parsed.expect, parsed.threshold, parsed.within.days) == ({"ferops.drift"}, 1, 7)


def test_drift_is_an_event_and_is_said_once(flows: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    window = SimpleNamespace(word="large", alerted=False, drifted=["brightness"])
    summary = SimpleNamespace(version="3", windows=(window,))
    said: list[Any] = []
    module = flows["monitor/local"].fn.__globals__
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("FEROPS_ALERT_URL", raising=False)
    monkeypatch.setattr(stack, "require_tracking_server", lambda _layout: None)
    monkeypatch.setattr(module["monitoring"], "monitor", lambda *_, **__: summary)
    monkeypatch.setattr(module["monitoring"], "note_alerted", lambda _layout: setattr(window, "alerted", True))
    monkeypatch.setitem(module, "lines", lambda _summary: ["version 3"])
    monkeypatch.setitem(module, "get_run_logger", lambda: SimpleNamespace(info=lambda _text: None))
    monkeypatch.setitem(module, "create_markdown_artifact", lambda **_: None)
    monkeypatch.setitem(module, "emit_event", lambda event, **more: said.append((event, more)))
    for _ in range(2):
        assert flows["monitor/local"].fn() == "version 3"
    ((event, more),) = said
    assert event == "ferops.drift"
    assert more["resource"] == {"prefect.resource.id": "ferops.model.ferops.3"}
    assert more["payload"] == {"windows": 1, "quantities": ["brightness"]}


@pytest.mark.parametrize("name", ["pipeline/local", "package/local", "monitor/local"])
def test_flows_refuse_to_write_past_the_tracking_server(
    flows: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(_layout: object) -> None:
        raise FeropsError("MLFLOW_TRACKING_URI is not set")

    ran = _record_stages(flows, monkeypatch)
    monkeypatch.setattr(stack, "require_tracking_server", refuse)
    with pytest.raises(FeropsError, match="MLFLOW_TRACKING_URI"):
        flows[name].fn()
    assert ran == []


def _record_stages(flows: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    ran: list[tuple[str, bool]] = []
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(
        flows["pipeline/local"].fn.__globals__, "reproduce", lambda stage, force: ran.append((stage, force))
    )
    monkeypatch.setattr(stack, "require_tracking_server", lambda _layout: None)
    return ran
