"""`ferops serve` before it serves: the address, and the Bento."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.packaging.bento import bento_folder
from ferops.packaging.serve import Place, checked_root_path, require_address, serve_command
from sockets import free_port


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "127.0.0.7", "::1"])
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    host: str = request.param
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        yield host, listener.getsockname()[1]


def test_a_taken_port_is_named_with_what_to_do(taken: tuple[str, int]) -> None:
    host, port = taken
    with pytest.raises(FeropsError, match=rf"{host}:{port}: Address already in use.*--port {port + 1}"):
        require_address(host, port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "256.1.1.1"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(FeropsError, match="--host takes an address of this machine"):
        require_address(host, free_port())


def test_a_free_port_is_fine() -> None:
    require_address("127.0.0.1", free_port())


def test_a_bento_of_an_older_ferops_is_to_be_built_anew(tmp_path: Path, quick_params: Params) -> None:
    layout = Layout(tmp_path)
    (bento_folder(layout, "ferops:v1") / "src" / "service").mkdir(parents=True)
    with pytest.raises(FeropsError, match=r"older ferops.*rm -r .*v1, then ferops serve"):
        serve_command(layout, quick_params, Place(1), tag="ferops:v1")


@pytest.mark.parametrize(
    ("given", "path"),
    [("", ""), ("/", ""), ("/ferops", "/ferops"), ("ferops/", "/ferops"), ("/a/b-c_1.0~", "/a/b-c_1.0~")],
)
def test_a_root_path_begins_with_a_slash_and_ends_without(given: str, path: str) -> None:
    assert checked_root_path(given) == path


@pytest.mark.parametrize("given", ["/a?b", "/a b", "http://example.org/a", "/a//b", "/ä", "/a\n"])
def test_what_is_no_path_is_refused(given: str) -> None:
    with pytest.raises(FeropsError, match="such as /ferops"):
        checked_root_path(given)
