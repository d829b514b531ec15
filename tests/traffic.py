"""Requests as bytes and clients with addresses of their own, for tests that attack the service."""

from __future__ import annotations

import io
import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from sample_images import writer

BOUNDARY = "ferops-test"


@dataclass(frozen=True)
class Reply:
    """What came back. `status` is 0 where the server closed the connection without an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0

    @property
    def code(self) -> str:
        """The service's own reason, or nothing."""
        try:
            return str(json.loads(self.body)["code"])
        except (ValueError, KeyError, TypeError):
            return ""


def form(encoded: bytes, *, name: str = 'name="image"', filename: str = 'filename="a.jpg"') -> bytes:
    """Return a form's body with one file."""
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {name}; {filename}\r\nContent-Type: image/jpeg\r\n\r\n"
    return head.encode("latin-1") + encoded + f"\r\n--{BOUNDARY}--\r\n".encode()


def post(body: bytes, *, content_type: str = f"multipart/form-data; boundary={BOUNDARY}", **headers: str) -> bytes:
    """Return a whole POST /predict; headers of the value "" are left out."""
    values = {"Host": "x", "Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
    values |= {key.replace("_", "-").title(): value for key, value in headers.items()}
    lines = [f"{key}: {value}" for key, value in values.items() if value]
    return "\r\n".join(["POST /predict HTTP/1.1", *lines, "", ""]).encode("latin-1") + body


def get(path: str, *, method: str = "GET", headers: str = "") -> bytes:
    """Return a whole request without a body."""
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode("latin-1")


def ask(port: int, request: bytes, *, source: str = "127.0.0.1", within_s: float = 30.0) -> Reply:
    """Send `request` from the address `source` (any of 127.0.0.0/8) and return what comes back.

    Raises TimeoutError: nothing did.
    """
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=within_s, source_address=(source, 0)) as connection:
        received = b""
        with suppress(BrokenPipeError, ConnectionResetError):  # it is refused already
            connection.sendall(request)
        with suppress(ConnectionResetError):
            while more := connection.recv(65536):
                received += more
    return _parsed(received, time.monotonic() - start)


def _parsed(received: bytes, seconds: float) -> Reply:
    while received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/"):
        return Reply(0, seconds=seconds)
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, body, seconds)


def image(kind: str = "JPEG", *, size: tuple[int, int] = (160, 160), mode: str = "RGB", **how: Any) -> bytes:
    """Return an encoded image: a gradient."""
    buffer = io.BytesIO()
    gradient = Image.linear_gradient("L").resize(size)
    gradient.convert(mode).save(buffer, writer(kind), **how)
    return buffer.getvalue()
