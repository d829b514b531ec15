"""Serve a Bento on this machine, by the server that it brings (service/run.py)."""

from __future__ import annotations

import os
import re
import socket
import ssl
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ferops.api_keys import ENVIRONMENT, read_keys
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.monitoring.key import log_key_file
from ferops.monitoring.traffic import FOLDER_VARIABLE, KEY_VARIABLE
from ferops.packaging.bento import bento_folder, bentoml_environment, packaged


@dataclass(frozen=True)
class Place:
    """Where a service is reached.

    Attributes:
        host: an address of this machine.
        root_path: below which a proxy shows it, as `checked_root_path` returns it.
        tls: the files of certificate and key, as `checked_tls` returns them; None for HTTP.
        grpc_port: None without gRPC.
    """

    port: int
    host: str = "127.0.0.1"
    root_path: str = ""
    tls: tuple[Path, Path] | None = None
    grpc_port: int | None = None

    def __str__(self) -> str:
        address = f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"
        grpc = f", gRPC at {self.host}:{self.grpc_port}" if self.grpc_port else ""
        return address + (f"{self.root_path}/" if self.root_path else "") + grpc


def serve_command(
    layout: Layout, params: Params, place: Place, *, tag: str | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return the command that serves the Bento `tag`, and its environment variables.

    Without `tag` it serves the Bento that `package` made last.

    Raises:
        FeropsError: there is no such Bento yet, an older ferops built it, or the API keys cannot be read.
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
    command = [sys.executable, "-m", "service.run", tag, "--port", str(place.port), "--host", place.host]
    if place.root_path:
        command += ["--root-path", place.root_path]
    if place.tls is not None:
        certificate, key = place.tls
        command += ["--tls-cert", str(certificate.resolve()), "--tls-key", str(key.resolve())]
    if place.grpc_port is not None:
        command += ["--grpc-port", str(place.grpc_port)]
    variables = bentoml_environment(layout)
    if params.serve.api_keys_file is not None:
        file = layout.root / params.serve.api_keys_file
        read_keys(file)  # a Bento that was built before the setting is closed by it, too
        variables[ENVIRONMENT] = str(file)
    if params.serve.log_dir is not None:
        variables[FOLDER_VARIABLE] = str((layout.root / params.serve.log_dir).resolve())
        variables[KEY_VARIABLE] = str(log_key_file(layout))
    # The Bento's own service and ferops come first
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    return command, variables


def serve(layout: Layout, params: Params, place: Place, *, tag: str | None = None, follow: bool = False) -> None:
    """Become the server: this process is replaced, so that signals reach it. Arguments and errors: `serve_command`.

    Args:
        follow: serve each new champion as well; then the server is a child of this process, which exits with it.
    """
    tag = tag or packaged(layout)
    command, variables = serve_command(layout, params, place, tag=tag)
    print(f"serving {tag} at {place}", flush=True)
    if follow:
        from ferops.packaging.follow import follow as run

        sys.exit(run(layout, [*command, "--parent", str(os.getpid())], variables, say=partial(print, flush=True)))
    os.execve(command[0], command, variables)


def checked_tls(certificate: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    """Return the files of certificate and key; None for neither.

    Raises:
        FeropsError: one of them is missing, or they do not belong together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise FeropsError("TLS needs --tls-cert FILE and --tls-key FILE, both")
    try:
        # Without the password's callback OpenSSL asks at the terminal
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = getattr(error, "strerror", None) or error
        raise FeropsError(
            f"--tls-cert {certificate} and --tls-key {key} cannot be used: {reason}. Supported: PEM files, the "
            "certificate with its chain, and its key without a password"
        ) from error
    return certificate, key


def checked_root_path(root_path: str) -> str:
    """Return the path below which a proxy shows the service, as in `/ferops`; empty for none.

    Raises:
        FeropsError: it holds something that paths do not.
    """
    path = root_path.strip("/")
    if not re.fullmatch(r"[\w.~/-]*", path, re.ASCII) or "//" in path:
        raise FeropsError(
            f"--root-path {root_path!r} is no path of the service. Supported: letters, digits and . _ ~ - between "
            "slashes, such as /ferops"
        )
    return f"/{path}" if path else ""


def require_address(host: str, port: int, *, option: str = "--port") -> None:
    """Raise a FeropsError that says what to do if no server can listen at `host`, a name or an address, and `port`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed counts as free
            probe.bind(address)
    except OSError as error:
        raise FeropsError(
            f"the service cannot listen at {host}:{port}: {error.strerror}. End the program that holds the port "
            f"(ss -ltnp shows it), or choose another: ferops serve {option} {port + 1 if port < 65535 else 3000}; "
            "--host takes an address of this machine"
        ) from error
