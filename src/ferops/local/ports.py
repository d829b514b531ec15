"""Which TCP ports the local servers use, and whether they are free."""

from __future__ import annotations

import dataclasses
import os
import socket
from dataclasses import dataclass

from ferops.errors import FeropsError

HOST = "127.0.0.1"
"""All servers listen on this machine only."""


@dataclass(frozen=True)
class Ports:
    """TCP ports on this machine; FEROPS_PREFECT_PORT, FEROPS_MLFLOW_PORT and so on change them.

    Attributes:
        postgres: of the project's own PostgreSQL. Not 5432, where Debian starts one of its own.
        s3: of the S3 server that `--try-s3` starts.
    """

    prefect: int = 4200
    mlflow: int = 5000
    service: int = 3000
    postgres: int = 5433
    s3: int = 9000

    @staticmethod
    def from_environment() -> Ports:
        """Return the ports that the environment names. Raises FeropsError: a value is not a port, or given twice."""
        ports = Ports(**{field.name: _port(field.name) for field in dataclasses.fields(Ports)})
        if len(set(dataclasses.astuple(ports))) < len(dataclasses.fields(Ports)):
            raise FeropsError(f"each server needs a port of its own, found {ports}")
        return ports

    @property
    def prefect_url(self) -> str:
        return f"http://{HOST}:{self.prefect}"

    @property
    def mlflow_url(self) -> str:
        return f"http://{HOST}:{self.mlflow}"

    @property
    def service_url(self) -> str:
        return f"http://{HOST}:{self.service}"

    @property
    def s3_url(self) -> str:
        return f"http://{HOST}:{self.s3}"


def require_free(port: int, *, variable: str, what: str) -> None:
    """Raise a FeropsError that names `variable` if something listens on `port` already."""
    listen(port, variable=variable, what=what).close()


def listen(port: int, *, variable: str, what: str) -> socket.socket:
    """Return a socket that listens on `port`, which nobody else can have as long as it is open.

    Raises:
        FeropsError: something listens there already; the message names `variable`.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed counts as free
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise FeropsError(
            f"port {port}, wanted for {what}, cannot be used: {error.strerror}. End the program that holds it, or "
            f"choose another port: {variable}={port + 1} make up"
        ) from error
    return listener


def _port(name: str) -> int:
    variable = f"FEROPS_{name.upper()}_PORT"
    text = os.environ.get(variable) or str(getattr(Ports, name))
    if not (text.isascii() and text.isdigit() and 1024 <= int(text) <= 65535):
        raise FeropsError(f"{variable} is {text!r}; it must be a port number from 1024 to 65535")
    return int(text)
