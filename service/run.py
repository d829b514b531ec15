"""The server of `ferops serve`: BentoML's application in one process, which holds the one port that is open.

`bentoml serve` starts the same Bento beneath a supervisor, circus, whose control port obeys every user of the machine,
and whose worker keeps the port when it is killed. Here, too, a client cannot use up the connections.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from ferops.scratch import scratch_folder

MAX_CONNECTIONS = 512
MAX_CONNECTIONS_PER_CLIENT = 128
HEAD_S = 10.0
"""Within this time a connection must have sent the head of its next request."""
SHUTDOWN_S = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="ferops serve")
    parser.add_argument("tag", help="of the Bento, as in ferops:v3")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    arguments = parser.parse_args()
    try:
        listener = listen(arguments.host, arguments.port)
    except OSError as error:
        sys.exit(f"ferops: {arguments.host}:{arguments.port} cannot be used: {error.strerror}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # BentoML makes temporary folders: those of a server that was killed go at the next start
    with scratch_folder(Path(tempfile.gettempdir()), "ferops-serve") as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        serve(arguments.tag, listener)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at `host`, a name or an address, and `port`. Raises OSError: it cannot."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed counts as free
        listener.bind(address)
        listener.listen(MAX_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


def serve(tag: str, listener: socket.socket) -> None:
    """Serve the Bento until a signal ends it, with the steps of BentoML's worker, `_bentoml_impl.worker.service`."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # one process keeps its counters in memory
    import uvicorn
    from _bentoml_impl.loader import load
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.context import server_context
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.server.metrics.prometheus import PrometheusClient

    configure_server_logging()  # type: ignore[no-untyped-call]
    BentoMLContainer.metrics_client.set(PrometheusClient(multiproc=False))
    service = load(tag, standalone_load=True)
    server_context.service_type = "entry_service"
    server_context.service_name = service.name
    server_context.service_routes = [api.route for api in service.apis.values()]
    server_context.bento_name, _, server_context.bento_version = tag.partition(":")
    config = uvicorn.Config(
        service.to_asgi(is_main=True),
        http=connection(),
        ws="none",
        lifespan="on",
        log_config=None,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises it again when all is answered: that is no failure
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.Server(config).run(sockets=[listener])


def _host(connection: Any) -> str | None:
    return connection.client[0] if connection.client else None


def connection() -> type[Any]:
    """Return uvicorn's HTTP protocol with limits; a function, so that the worker's copy of this module stays light."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from service.refusals import Refusal

    class Connection(H11Protocol):
        """Refuses connections that are too many, and ends those that send no request."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(HEAD_S, self._end_if_idle)
            host = _host(self)
            own = sum(_host(each) == host for each in self.connections)
            proxies = self.config.loaded_app.trusted_hosts
            if own > MAX_CONNECTIONS_PER_CLIENT and host not in proxies:
                self._refuse("too_many_connections")
            elif len(self.connections) > MAX_CONNECTIONS:
                self._refuse("connections_full")

        def connection_lost(self, exc: Exception | None) -> None:
            self._timer.cancel()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            self._timer.cancel()
            self._timer = self.loop.call_later(HEAD_S, self._end_if_idle)
            super().on_response_complete()

        def _end_if_idle(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

        def _refuse(self, code: str) -> None:
            text = "Too many connections are open. Close some, or try later."
            answer = Refusal(code, text, retry_after_s=1).response()
            answer.headers["connection"] = "close"
            head = [b"HTTP/1.1 %d Refused" % answer.status_code, *(b": ".join(each) for each in answer.raw_headers)]
            self.transport.write(b"\r\n".join([*head, b"", answer.body]))
            self.transport.close()

    return Connection


if __name__ == "__main__":
    main()
