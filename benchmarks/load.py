"""Many clients for a while: what fails, how long answers take, and whether memory grows. Writes JSON.

    python benchmarks/load.py [--clients 64] [--streams 4] [--seconds 600] [--photos FOLDER] [--tag TAG]

Serves the Bento that `ferops package` made last, or another one, on a free port of 127.0.0.1, and ends it. Each client
has an address of its own (127.0.0.2 and so on; Linux has them all), sends the next image when it has an answer, and
waits as long as Retry-After says when it is refused. Streams send a frame when the last one is answered. Exit status 1:
something failed that is no deliberate 429 or 503.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from running import running
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from ferops.datasets.synthetic.generate import rows
from ferops.files import write_json
from ferops.layout import Layout
from ferops.packaging.bento import packaged

DELIBERATE = (429, 503)
BUSY = ("queue_full", "too_many_images", "too_many_streams", "streams_full")
"""What these statuses are in a stream."""
READY_WITHIN_S = 300


class Load:
    """What happened: latencies in ms of answers, statuses and codes of everything, and errors of transport."""

    def __init__(self, images: list[bytes], *, seconds: float) -> None:
        self._images = images
        self._until_s = time.monotonic() + seconds
        self.latencies_ms: list[float] = []
        self.frames_ms: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.stream_codes: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self._until_s

    async def client(self, http: httpx.AsyncClient, number: int) -> None:
        """Post one image after the other, in an order of this client's own."""
        images = random.Random(number).sample(self._images, len(self._images))
        for image in itertools.cycle(images):
            if not self.goes_on:
                return
            start = time.perf_counter()
            try:
                response = await http.post("/predict", files={"image": image})
            except httpx.HTTPError as error:
                self.failures[type(error).__name__] += 1
                await asyncio.sleep(1)
                continue
            spent_ms = 1e3 * (time.perf_counter() - start)
            if response.status_code == httpx.codes.OK:
                self.statuses["200"] += 1
                self.latencies_ms.append(spent_ms)
                continue
            code = response.json().get("code", "") if "json" in response.headers.get("content-type", "") else "no JSON"
            self.statuses[f"{response.status_code} {code}"] += 1
            if response.status_code not in DELIBERATE:
                self.failures[f"{response.status_code} {code}"] += 1
            wait_s = float(response.headers.get("retry-after", 1))
            await asyncio.sleep(min(wait_s, max(0.0, self._until_s - time.monotonic())))

    async def stream(self, url: str, address: str, number: int) -> None:
        """Send one frame after the other through a WebSocket."""
        images = itertools.cycle(random.Random(-number).sample(self._images, len(self._images)))
        try:
            async with connect(url, local_addr=(address, 0)) as socket:
                while self.goes_on:
                    start = time.perf_counter()
                    await socket.send(next(images))
                    answer = json.loads(await asyncio.wait_for(socket.recv(), 60))
                    self.stream_codes[answer.get("code", "answered")] += 1
                    if "code" not in answer:
                        self.frames_ms.append(1e3 * (time.perf_counter() - start))
                    elif answer["code"] not in BUSY:
                        self.failures[f"stream {answer['code']}"] += 1
        except (WebSocketException, OSError, TimeoutError) as error:
            self.failures[f"stream {type(error).__name__}"] += 1


def address_of(number: int) -> str:
    """Return the address that a client has for itself, from 127.0.0.2 on."""
    return f"127.0.{number // 250}.{number % 250 + 2}"


async def run(load: Load, *, port: int, clients: int, streams: int) -> None:
    addresses = (address_of(number) for number in itertools.count())

    async def client(number: int) -> None:
        transport = httpx.AsyncHTTPTransport(local_address=next(addresses))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, transport=transport) as http:
            await load.client(http, number)

    await asyncio.gather(
        *(client(number) for number in range(clients)),
        *(load.stream(f"ws://127.0.0.1:{port}/stream", next(addresses), number) for number in range(streams)),
    )


def memory_mb(process: psutil.Process) -> dict[str, float]:
    """Return the unique memory of the server and of its worker, in MB: what their end would free."""
    found = [process, *process.children(recursive=True)]
    each = sorted((one.memory_full_info().uss / 1e6 for one in found), reverse=True)
    return {"all": round(sum(each), 1), "largest": round(each[0], 1)}


def percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    return {"count": len(values), "p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1)}


def images_of(folder: Path | None) -> list[bytes]:
    """Return the photographs in a folder; without one, rendered faces."""
    if folder is None:
        return [bytes(row["image"]) for row in islice(rows(seed=7), 16)]
    found = [
        path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ]
    if not found:
        raise SystemExit(f"{folder} holds no JPEG or PNG")
    return [image for image in found if len(image) < 1e6]  # a frame of a stream may have 1 MB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--photos", type=Path, help="a folder of photographs; default: rendered faces")
    parser.add_argument("--out", type=Path, default=Path("load.json"))
    parser.add_argument("--tag", help="of the Bento, as ferops serve --starter says it; default: packaged last")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder")
    arguments = parser.parse_args()
    layout, images = Layout(arguments.root), images_of(arguments.photos)
    with running(layout, within_s=READY_WITHIN_S, tag=arguments.tag) as service:
        server = psutil.Process(service.process.pid)
        for image in images[:5]:
            service.client.post("/predict", files={"image": image})
        before, start = memory_mb(server), time.monotonic()
        load = Load(images, seconds=arguments.seconds)
        asyncio.run(run(load, port=service.port, clients=arguments.clients, streams=arguments.streams))
        spent_s, after = time.monotonic() - start, memory_mb(server)
    found: dict[str, Any] = {
        "bento": arguments.tag or packaged(layout),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "clients": arguments.clients,
        "streams": arguments.streams,
        "seconds": round(spent_s, 1),
        "answers_per_s": round(len(load.latencies_ms) / spent_s, 2),
        "latency_ms": percentiles(load.latencies_ms),
        "frame_ms": percentiles(load.frames_ms),
        "statuses": dict(load.statuses),
        "stream_codes": dict(load.stream_codes),
        "failures": dict(load.failures),
        "memory_mb_before": before,
        "memory_mb_after": after,
        "server_exit_status": service.process.returncode,
    }
    write_json(arguments.out, found)
    print(json.dumps(found, indent=2))
    return 1 if load.failures or service.process.returncode else 0


if __name__ == "__main__":
    raise SystemExit(main())
