"""Servers that tests start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import small_disk
from sockets import free_port


@contextmanager
def mlflow_server(root: Path, *options: str) -> Iterator[str]:
    """Serve `root`/mlflow.db as `ferops up` does; yield the address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", "sqlite:///mlflow.db", *options]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    root.mkdir(parents=True, exist_ok=True)
    with (root / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/health", server)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)


@contextmanager
def s3_server(*, disk: str = "") -> Iterator[str]:
    """Run moto's S3 server, which holds objects in memory; yield its address.

    Args:
        disk: such as `64k`: it holds them on a disk of this size instead (tests/small_disk.py).
    """
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = dict(os.environ)
    if disk:
        mount = f'mount -t tmpfs -o size={disk} tmpfs /mnt && exec "$@"'
        command = [*small_disk.NAMESPACE, "bash", "-c", mount, "bash", *command]
        environment |= {"TMPDIR": "/mnt", "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": "1"}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(url: str, server: subprocess.Popen[bytes], *, within_s: float = 90) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended at once"
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"{url} did not answer")
