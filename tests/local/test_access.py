"""The logins of the stack: drawn by `up`, forgotten by `down`, given to the stack's own servers only."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.local import access
from ferops.local.ports import Ports

PORTS = Ports(4200, 5000, 3000)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    access.renew(layout)
    return layout


def test_every_up_draws_new_logins_which_nobody_else_can_read(layout: Layout) -> None:
    first = access.client_environment(layout, PORTS)
    assert first == access.client_environment(layout, PORTS)
    access.renew(layout)
    second = access.client_environment(layout, PORTS)
    for name in ("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_PASSWORD"):
        assert first[name] != second[name]
    profile = layout.root / ".prefect" / "profile.toml"
    assert second["PREFECT_API_AUTH_STRING"] in profile.read_text(encoding="utf-8")
    files = [profile, *(layout.state / "private").iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    access.forget(layout)
    assert not any(file.exists() for file in files)


def test_the_shell_gets_what_clients_need(layout: Layout) -> None:
    script = access.as_shell(access.client_environment(layout, PORTS)) + "\nenv"
    printed = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.splitlines()
    for name, value in access.client_environment(layout, PORTS).items():
        assert f"{name}={value}" in printed


@pytest.mark.parametrize(
    ("addresses", "names"),
    [
        ({}, set()),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}, {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}),
        ({"MLFLOW_TRACKING_URI": "http://localhost:5000/"}, {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}),
        ({"PREFECT_API_URL": "http://127.0.0.1:4200/api"}, {"PREFECT_API_AUTH_STRING"}),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:5001"}, set()),
        ({"MLFLOW_TRACKING_URI": "https://mlflow.example.org:5000"}, set()),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000@evil.example"}, set()),
        ({"MLFLOW_TRACKING_URI": "http://127.0.0.1:999999"}, set()),
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, set()),
    ],
)
def test_only_the_own_servers_get_the_logins(layout: Layout, addresses: dict[str, str], names: set[str]) -> None:
    assert access.logins_for(addresses, layout, PORTS).keys() == names


def test_a_reverse_proxy_is_let_in_on_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    assert access.allowed_origins() == []
    monkeypatch.setenv("FEROPS_ALLOWED_ORIGINS", "https://mlops.example.org, http://[::1]:8080,")
    assert access.allowed_origins() == ["https://mlops.example.org", "http://[::1]:8080"]
    for wrong in ("*", "mlops.example.org", "https://mlops.example.org/", "https://a b", "null"):
        monkeypatch.setenv("FEROPS_ALLOWED_ORIGINS", wrong)
        with pytest.raises(FeropsError, match="FEROPS_ALLOWED_ORIGINS"):
            access.allowed_origins()


def test_what_the_stack_keeps_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch(mode=0o644)
    layout = Layout(tmp_path)
    layout.state.mkdir(mode=0o755)
    access.close_to_others(layout)
    closed = [layout.state, tmp_path / ".prefect", tmp_path / "mlruns", tmp_path / "mlflow.db"]
    assert not any(path.stat().st_mode & 0o077 for path in closed)
    tmp_path.chmod(0o777)
    with pytest.raises(FeropsError, match=r"everybody may write.*chmod o-w"):
        access.close_to_others(layout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_a_state_that_another_user_wrote_names_nobody_to_end(tmp_path: Path) -> None:
    from ferops.local import stack

    layout = Layout(tmp_path)
    layout.state.mkdir()
    forged = layout.state / "stack.json"
    forged.write_text("{}", encoding="utf-8")
    os.chown(forged, 65534, 65534)
    with pytest.raises(FeropsError, match="belongs to another user"):
        stack.down(layout)
    assert forged.exists()
