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
MAX_HEAD_BYTES = 64 * 2**10
CROWDED = "Too many connections are open. Close some, or try later."
SHUTDOWN_S = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="ferops serve")
    parser.add_argument("tag", help="of the Bento, as in ferops:v3")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--root-path", default="", help="such as /ferops")
    parser.add_argument("--tls-cert", type=Path, help="PEM")
    parser.add_argument("--tls-key", type=Path, help="PEM")
    parser.add_argument("--grpc-port", type=int)
    parser.add_argument("--parent", type=int, help="the process with which the server ends, even by SIGKILL")
    arguments = parser.parse_args()
    if arguments.parent:
        from service.worker import die_with

        die_with(arguments.parent)
    try:
        listener = listen(arguments.host, arguments.port)
    except OSError as error:
        sys.exit(f"ferops: {arguments.host}:{arguments.port} cannot be used: {error.strerror}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # BentoML makes temporary folders: those of a server that was killed go at the next start
    with scratch_folder(Path(tempfile.gettempdir()), "ferops-serve") as scratch:
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        tls = (arguments.tls_cert, arguments.tls_key) if arguments.tls_cert else None
        if arguments.grpc_port:  # as in a container, where `bentoml serve` starts the service
            host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
            os.environ["FEROPS_GRPC"] = f"{host}:{arguments.grpc_port}"
        if tls:
            os.environ.update(FEROPS_TLS_CERT=str(tls[0]), FEROPS_TLS_KEY=str(tls[1]))
        serve(arguments.tag, listener, root_path=arguments.root_path, tls=tls)


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


def serve(tag: str, listener: socket.socket, *, root_path: str, tls: tuple[Path, Path] | None = None) -> None:
    """Serve the Bento until a signal ends it, with the steps of BentoML's worker, `_bentoml_impl.worker.service`.

    `tls`: the files of certificate and key.
    """
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # one process keeps its counters in memory
    import uvicorn
    import uvloop  # noqa: F401 # uvicorn needs both; named here, they are among the Bento's requirements
    import websockets  # noqa: F401
    from _bentoml_impl.loader import load
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.context import server_context
    from bentoml._internal.log import configure_server_logging
    from bentoml._internal.server.metrics.prometheus import PrometheusClient
    from opentelemetry.util.http import ExcludeList

    from service.prefix import Prefix
    from service.stream import MAX_FRAME_BYTES

    configure_server_logging()  # type: ignore[no-untyped-call]
    BentoMLContainer.metrics_client.set(PrometheusClient(multiproc=False))
    if not BentoMLContainer.tracing.sample_rate.get():  # spans that nobody gets take a tenth of the server's time
        BentoMLContainer.tracing_excluded_urls.set(ExcludeList(["."]))
    service = load(tag, standalone_load=True)
    server_context.service_type = "entry_service"
    server_context.service_name = service.name
    server_context.service_routes = [api.route for api in service.apis.values()]
    server_context.bento_name, _, server_context.bento_version = tag.partition(":")
    config = uvicorn.Config(
        Prefix(service.to_asgi(is_main=True), root_path),
        http=connection(),
        loop="uvloop",  # a fifth more answers than asyncio's own, with httptools (benchmarks/throughput.py)
        ws="websockets-sansio",
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # frames are compressed, and inflating costs the server more than it saves
        lifespan="on",
        log_config=None,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=SHUTDOWN_S,
        ssl_certfile=tls and tls[0],
        ssl_keyfile=tls and tls[1],
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn raises it again when all is answered: that is no failure
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.Server(config).run(sockets=[listener])


def _host(connection: Any) -> str | None:
    return connection.client[0] if connection.client else None


def connection() -> type[Any]:
    """Return uvicorn's HTTP protocol with limits; a function, so that the worker's copy of this module stays light."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from service.refusals import Refusal

    class Connection(HttpToolsProtocol):
        """Refuses connections that are too many, heads that are too long, and ends those that send no request."""

        _head_bytes = 0
        """Since the last part of a body, or the last request: of a head, or of what may follow a body in chunks."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(HEAD_S, self._end_if_idle)
            host = _host(self)
            own = sum(_host(each) == host for each in self.connections)
            proxies = self.config.loaded_app.trusted_hosts
            if own > MAX_CONNECTIONS_PER_CLIENT and host not in proxies:
                self._end_with(Refusal("too_many_connections", CROWDED, retry_after_s=1))
            elif len(self.connections) > MAX_CONNECTIONS:
                self._end_with(Refusal("connections_full", CROWDED, retry_after_s=1))

        def connection_lost(self, exc: Exception | None) -> None:
            self._timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._head_bytes += len(data)
            super().data_received(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():  # the parser knows no limit
                text = f"The head of a request may have {MAX_HEAD_BYTES // 2**10} KiB: its path, query and headers."
                self._end_with(Refusal("head_too_large", text))

        def on_body(self, body: bytes) -> None:
            self._head_bytes = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._head_bytes = 0
            super().on_message_complete()

        def handle_websocket_upgrade(self) -> None:
            self._timer.cancel()  # a stream that sends nothing is ended by the stream
            super().handle_websocket_upgrade()

        def on_response_complete(self) -> None:
            self._timer.cancel()
            self._timer = self.loop.call_later(HEAD_S, self._end_if_idle)
            super().on_response_complete()

        def _end_if_idle(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

        def _end_with(self, refusal: Refusal) -> None:
            answer = refusal.response()
            answer.headers["connection"] = "close"
            head = [b"HTTP/1.1 %d Refused" % answer.status_code, *(b": ".join(each) for each in answer.raw_headers)]
            self.transport.write(b"\r\n".join([*head, b"", answer.body]))
            self.transport.close()

    return Connection


if __name__ == "__main__":
    main()
