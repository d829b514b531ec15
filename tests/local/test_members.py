"""Who may promote: the rule before MLflow, and with `slow` MLflow's own auth app behind it."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from ferops import config
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import access, members
from ferops.local.announce import ALIAS
from ferops.local.members import DELETE, RENAME, TAGS, Reviewers
from ferops.registry import promotion, stage
from registry_project import make_project, params_tree
from servers import wait_for

CHAMPION = '{"name": "ferops", "alias": "champion", "version": "1"}'
CHALLENGER = '{"name": "ferops", "alias": "challenger", "version": "1"}'


class Store:
    """Three logins; each one's password is its name."""

    def authenticate_user(self, name: str, password: str) -> bool:
        return name == password and name in ("ferops", "rita", "tom")

    def get_user(self, name: str) -> Any:
        return SimpleNamespace(id=name, is_admin=name == "ferops")

    def list_user_roles_for_workspace(self, user_id: str, _workspace: str) -> list[Any]:
        return [SimpleNamespace(name="reviewer" if user_id == "rita" else "trainer")]


def answer(
    method: str, path: str, body: str, *, login: str | None, taken: list[dict[str, Any]] | None = None
) -> tuple[int, list[bytes]]:
    """Return the status, and what reached MLflow; `taken` gets what was taken away without it."""
    reached: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(await Request(scope, receive).body())
        await Response()(scope, receive, send)

    async def ask() -> int:
        rule = Reviewers(
            app,
            Store(),
            begun=lambda asked: asked.get("version") == "7",
            take_away=(taken if taken is not None else []).append,
        )
        transport = httpx.ASGITransport(rule)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            auth = (login, login) if login else None
            return (await client.request(method, f"/api/2.0{path}", content=body, auth=auth)).status_code

    return asyncio.run(ask()), reached


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", ALIAS, CHAMPION),
        ("POST", f"{ALIAS}/", CHAMPION),
        ("POST", ALIAS, CHALLENGER.replace("challenger", "canary")),
        ("DELETE", ALIAS, '{"alias": "challenger", "alias": "champion"}'),
        ("POST", ALIAS, '{"alias": "challenger", "alias": "champion"}'),  # readers differ in which one counts
        ("POST", ALIAS, '"{\\"alias\\": \\"challenger\\"}"'),
        ("POST", ALIAS, "alias=challenger"),
        ("POST", ALIAS, '{"alias": "challenger", "name": "' + 70_000 * "x" + '"}'),
        ("POST", RENAME, '{"name": "ferops", "new_name": "mine"}'),
        ("POST", TAGS[0], '{"key": "promoted_by", "value": "rita"}'),
        ("DELETE", TAGS[1], '{"key": "promoted_at"}'),
        ("POST", TAGS[0], '{"key": "ferops.pending", "version": "1"}'),  # and then it could be deleted
        ("DELETE", DELETE, '{"name": "ferops", "version": "1"}'),
        ("DELETE", DELETE, ""),
    ],
)
def test_a_trainer_is_refused_and_nothing_reaches_mlflow(method: str, path: str, body: str) -> None:
    assert answer(method, path, body, login="tom") == (403, [])
    for nobody in ("eve", None):
        assert answer(method, path, body, login=nobody) == (401, [])
    if len(body) < 60_000:
        for may in ("rita", "ferops"):
            assert answer(method, path, body, login=may) == (200, [body.encode()])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", ALIAS, CHALLENGER),
        ("POST", TAGS[0], '{"key": "gates", "value": "passed"}'),
        ("DELETE", TAGS[1], '{"key": "ferops.pending", "version": "7"}'),
        ("DELETE", DELETE, '{"name": "ferops", "version": "7"}'),
        ("GET", ALIAS, ""),
        ("POST", "/mlflow/runs/create", "{}"),
    ],
)
def test_what_register_does_is_left_to_mlflow(method: str, path: str, body: str) -> None:
    assert answer(method, path, body, login="tom") == (200, [body.encode()])


def test_a_reviewer_takes_any_alias_away_and_a_trainer_the_challenger() -> None:
    """MLflow would ask for the permission to delete the model."""
    for login, body, status in (
        ("rita", CHAMPION, 200),
        ("rita", CHALLENGER, 200),
        ("ferops", CHAMPION, 200),
        ("tom", CHALLENGER, 200),
        ("tom", CHAMPION, 403),
        ("eve", CHALLENGER, 401),
    ):
        taken: list[dict[str, Any]] = []
        assert answer("DELETE", ALIAS, body, login=login, taken=taken) == (status, [])
        assert [json.dumps(each) for each in taken] == ([body] if status == 200 else [])


def test_mlflow_has_these_paths() -> None:
    from mlflow.server.handlers import get_endpoints

    known = {path for path, _, _ in get_endpoints()}
    for path in (ALIAS, RENAME, DELETE, *TAGS):
        assert f"/api/2.0{path}" in known


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A team's MLflow server, with SQLite in the place of PostgreSQL and a folder in that of the bucket."""
    if not importlib.util.find_spec("flask_wtf"):
        pytest.skip("needs the extra team: make install")
    layout = Layout(tmp_path / "project")
    make_project(layout)
    (layout.root / "params.yaml").write_bytes((Path(__file__).parents[2] / "params.yaml").read_bytes())
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_EXP"))]:
        monkeypatch.delenv(name)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port, number = listener.getsockname()[1], listener.fileno()
        own = {"MLFLOW_TRACKING_USERNAME": access.USER, "MLFLOW_TRACKING_PASSWORD": "the stack's own"}
        stores = {"FEROPS_MLFLOW_DATABASE": f"sqlite:///{tmp_path}/team.db", "FEROPS_S3": f"{tmp_path}/bucket"}
        with (tmp_path / "server.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "ferops.local.server", "team-mlflow", str(port), str(number)],
                cwd=layout.root,
                env=os.environ | own | stores | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                pass_fds=[number],
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, within_s=240)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
            for name, value in own.items():
                monkeypatch.setenv(name, value)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.mark.slow
def test_a_trainer_registers_and_a_reviewer_promotes(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, params = Layout(tmp_path / "project"), config.parse(params_tree())
    passwords: dict[str, Any] = {}
    for name, role in (("tom", "trainer"), ("rita", "reviewer")):
        passwords[name] = members.set_member(server, name, role=role)  # type: ignore[arg-type]

    def log_in(name: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", passwords[name])

    log_in("tom")
    every = stage.flatten
    monkeypatch.setattr(stage, "flatten", lambda *tree, **how: dict(list(every(*tree, **how).items())[:3]))
    stage.register(layout, params)
    assert list((tmp_path / "bucket").rglob("model-int8.onnx"))
    with pytest.raises(FeropsError, match="'tom' may not do that here"):
        promotion.promote(layout, params, "1")
    assert "champion" not in promotion.aliases(layout, params)
    for method, path, body in (
        ("DELETE", "/mlflow/registered-models/delete", {"name": "ferops"}),
        ("DELETE", "/mlflow/model-versions/delete", {"name": "ferops", "version": "1"}),
        ("POST", "/mlflow/users/create", {"username": "eve", "password": "long enough 1"}),
    ):
        reply = httpx.request(method, f"{server}/api/2.0{path}", json=body, auth=("tom", passwords["tom"]))
        assert reply.status_code == 403, (path, reply.text)

    log_in("rita")
    promotion.promote(layout, params, "1")
    assert promotion.aliases(layout, params)["champion"] == "1"
    from ferops.registry.connection import connect

    assert connect(layout).get_model_version(params.registry.model_name, "1").tags["promoted_by"] == "rita"
    connect(layout).delete_registered_model_alias(params.registry.model_name, "champion")
    assert "champion" not in promotion.aliases(layout, params)
    log = (tmp_path / "server.log").read_text()
    assert 'rita: DELETE alias {"name": "ferops", "alias": "champion"}' in log
    assert 'rita: POST alias {"name": "ferops", "alias": "champion", "version": "1"}' in log
    with pytest.raises(FeropsError):
        stage.register(layout, params)  # a reviewer logs no runs

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", access.USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "the stack's own")
    assert members.set_member(server, "tom", role=None) is None
    again = members.set_member(server, "rita", role="trainer")
    assert again != passwords["rita"]
    for name in ("tom", "rita"):  # with what they knew before
        assert httpx.get(f"{server}/api/2.0/mlflow/users/current", auth=(name, passwords[name])).status_code == 401
    with pytest.raises(FeropsError, match="no login here"):
        members.set_member(server, "tom", role=None)
    with pytest.raises(FeropsError, match="the stack's own login"):
        members.set_member(server, access.USER, role="trainer")


def test_what_reaches_the_rule_is_a_whole_login() -> None:
    reviewers = Reviewers(None, Store(), begun=bool, take_away=print)  # type: ignore[arg-type]

    def header(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    assert reviewers._member(header("rita:rita")) == ("rita", {"reviewer"})
    assert reviewers._member(header("tom:tom")) == ("tom", {"trainer"})
    for wrong in ("", "Basic", "Basic !", header("rita"), header("rita:"), "Bearer " + header("rita:rita")[6:]):
        assert reviewers._member(wrong) is None
