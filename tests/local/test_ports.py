"""Ports of the local servers."""

from __future__ import annotations

import socket

import pytest

from ferops.errors import FeropsError
from ferops.local import ports
from ferops.local.ports import HOST, Ports


def test_the_environment_moves_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEROPS_PREFECT_PORT", raising=False)
    monkeypatch.delenv("FEROPS_SERVICE_PORT", raising=False)
    monkeypatch.setenv("FEROPS_MLFLOW_PORT", "5123")
    found = Ports.from_environment()
    assert found == Ports(prefect=4200, mlflow=5123, service=3000)
    assert found.mlflow_url == "http://127.0.0.1:5123"


@pytest.mark.parametrize("text", ["http", "80", "65536", "-1", "4200.5", "４２００"])
def test_what_is_no_port_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FEROPS_PREFECT_PORT", text)
    with pytest.raises(FeropsError, match="FEROPS_PREFECT_PORT"):
        Ports.from_environment()


def test_one_port_cannot_serve_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEROPS_PREFECT_PORT", "5001")
    monkeypatch.setenv("FEROPS_MLFLOW_PORT", "5001")
    with pytest.raises(FeropsError, match="a port of its own"):
        Ports.from_environment()


@pytest.mark.parametrize("address", [HOST, ""])  # the empty one listens on every address of the machine
def test_a_busy_port_is_named_with_the_variable_that_moves_it(address: str) -> None:
    with socket.socket() as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(FeropsError, match=rf"port {port}, wanted for the thing.*FEROPS_X_PORT={port + 1}"):
            ports.require_free(port, variable="FEROPS_X_PORT", what="the thing")
    ports.require_free(port, variable="FEROPS_X_PORT", what="the thing")
