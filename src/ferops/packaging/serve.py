"""Serve a Bento on this machine, by the server that it brings (service/run.py)."""

from __future__ import annotations

import os
import socket
import sys

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.packaging.bento import bento_folder, bentoml_environment, packaged


def serve_command(
    layout: Layout, params: Params, *, port: int, host: str = "127.0.0.1", tag: str | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the command that serves the Bento `tag`, and its environment variables.

    Without `tag` it serves the Bento that `package` made last.

    Raises:
        FeropsError: there is no such Bento yet, or an older ferops built it.
    """
    tag = tag or packaged(layout)
    if tag is None:
        raise FeropsError(
            f"there is no Bento of {params.package.bento_name} yet. Promote a version (in the MLflow UI, or: "
            "ferops promote VERSION), then: ferops package"
        )
    source = bento_folder(layout, tag) / "src"
    if not (source / "service" / "run.py").exists():
        raise FeropsError(
            f"an older ferops built the Bento {tag}. Build it anew: rm -r {source.parent}, then ferops serve"
        )
    command = [sys.executable, "-m", "service.run", tag, "--port", str(port), "--host", host]
    variables = bentoml_environment(layout)
    # The Bento's own service and ferops come first
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    return command, variables


def serve(layout: Layout, params: Params, *, port: int, host: str = "127.0.0.1", tag: str | None = None) -> None:
    """Replace this process with the server (so that signals reach it); arguments and errors as for `serve_command`."""
    tag = tag or packaged(layout)
    command, variables = serve_command(layout, params, port=port, host=host, tag=tag)
    print(f"serving {tag} at http://{host}:{port}", flush=True)
    os.execve(command[0], command, variables)


def require_address(host: str, port: int) -> None:
    """Raise a FeropsError that says what to do if no server can listen at `host`, a name or an address, and `port`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed counts as free
            probe.bind(address)
    except OSError as error:
        raise FeropsError(
            f"the service cannot listen at {host}:{port}: {error.strerror}. End the program that holds the port "
            f"(ss -ltnp shows it), or choose another: ferops serve --port {port + 1 if port < 65535 else 3000}; --host "
            "takes an address of this machine"
        ) from error
