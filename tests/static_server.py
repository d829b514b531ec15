"""A web server of files alone, as any host has it, and onnxruntime-web for pages that it serves."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from docs.demo.build import fetched_runtime

from ferops.errors import FeropsError


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
    if given := os.environ.get("FEROPS_ONNXRUNTIME_WEB"):
        return Path(given)
    try:
        return fetched_runtime(folder)
    except FeropsError as error:
        pytest.skip(f"FEROPS_ONNXRUNTIME_WEB names no archive, and {error}")
