"""The packaged Bento as a running service, for benchmarks."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from ferops.config import load_params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.packaging.serve import Place, serve_command


@dataclass(frozen=True)
class Running:
    """A service that answers `client` at 127.0.0.1:`port`; `process`, its first one, has ended when the context has."""

    client: httpx.Client
    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def running(layout: Layout, *, within_s: float = 90.0, tag: str | None = None) -> Iterator[Running]:
    """Start the Bento `tag`, or the one that was packaged last, yield it once it is ready, and stop it.

    Raises:
        FeropsError: there is no Bento, or the service ended or was not ready in time.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command, variables = serve_command(layout, load_params(layout.params_file), Place(port), tag=tag)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                _wait(client, process, within_s=within_s)
                yield Running(client, port, process)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise FeropsError("the service did not become ready; run `ferops serve` to see why")
