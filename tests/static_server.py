"""A web server of files alone, as any host has it, and the packages that pages and their tests want."""

from __future__ import annotations

import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from docs.demo.build import RUNTIME, fetched

from ferops.errors import FeropsError

AXE = "axe-core@4.14.1"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the folder; yield its address, with a slash at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def onnxruntime_web(folder: Path) -> Path:
    """Return the archive of onnxruntime-web that FEROPS_ONNXRUNTIME_WEB names, or that npm fetches into `folder`."""
    return _package("FEROPS_ONNXRUNTIME_WEB", RUNTIME, folder)


def axe(folder: Path) -> str:
    """Return the script that judges a page's accessibility, of the archive of axe-core that FEROPS_AXE names, or that
    npm fetches into `folder`."""
    with tarfile.open(_package("FEROPS_AXE", AXE, folder)) as packed:
        script = packed.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def _package(variable: str, name: str, folder: Path) -> Path:
    if given := os.environ.get(variable):
        return Path(given)
    try:
        return fetched(name, folder)
    except FeropsError as error:
        pytest.skip(f"{variable} names no archive, and {error}")
