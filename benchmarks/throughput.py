"""Images a second of the running service, beside those of bare Predictors that have the cores in the same shares.

    python benchmarks/throughput.py [--photos FOLDER] [--workers 1 2] [--clients 1 4 16 64] [--seconds 5] [--rounds 3]

For each number of workers (`serve.workers`) the starter is served on a free port, and as many processes hold a
Predictor with as many threads. All are measured in turns, so that a busy moment hits each of them. A client has an
address of its own, one connection, and sends the next image when it has an answer; when it is refused (429, 503) it
waits as long as Retry-After says. The clients run on the same cores and take their share of them, though all they do is
read and write bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from load import DELIBERATE, address_of, images_of
from running import running
from tables import markdown

from ferops.config import load_params
from ferops.faces.photo import Photo
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.packaging.bento import package_starter
from ferops.starter.folder import Starter, fetch
from ferops.threads import use

sys.path.append(str(Path(__file__).parents[1]))
from service.workers import share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

WARM_UP = 10


@dataclass
class Turns:
    """What one way did: images a second by turn, and every latency in ms; `failed` are answers that are no refusal."""

    per_s: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0


def bare(model: Path, threads: int, images: list[bytes], orders: Connection) -> None:
    """Predict one image after the other for as many seconds as `orders` says, and send back how many."""
    use(threads)
    predictor = Predictor(model, threads=threads)
    following = itertools.cycle(images)

    def predict() -> None:
        predictor.predict(Photo.decode(next(following), max_megapixels=25))

    for _ in range(WARM_UP):
        predict()
    orders.send(0)
    while seconds := orders.recv():
        until, done = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            predict()
            done += 1
        orders.send(done)


@contextmanager
def predictors(
    model: Path, *, count: int, threads: int, images: list[bytes]
) -> Iterator[Callable[[float, Turns], None]]:
    """Yield what lets `count` processes predict for some seconds."""
    spawn = multiprocessing.get_context("spawn")
    ends = []
    with ExitStack() as stack:
        for _ in range(count):
            mine, theirs = spawn.Pipe()
            process = spawn.Process(target=bare, args=(model, threads, images, theirs), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(mine.send, 0)
            ends.append(mine)
        for end in ends:
            end.recv()

        def turn(seconds: float, turns: Turns) -> None:
            start = time.monotonic()
            for end in ends:
                end.send(seconds)
            done = sum(end.recv() for end in ends)
            turns.per_s.append(done / (time.monotonic() - start))

        yield turn


async def client(number: int, port: int, requests: list[bytes], until: float, turns: Turns) -> int:
    """Send one image after the other; return how many were answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address_of(number), 0))
    done = 0
    for request in itertools.islice(itertools.cycle(requests), number, None):
        if time.monotonic() >= until:
            break
        start = time.perf_counter()
        writer.write(request)
        status, headers = await _answer(reader)
        if status == 200:
            turns.latencies_ms.append(1e3 * (time.perf_counter() - start))
            done += 1
        elif status in DELIBERATE:
            turns.refused += 1
            await asyncio.sleep(min(float(headers.get(b"retry-after", b"1")), max(0.0, until - time.monotonic())))
        else:
            turns.failed += 1
    writer.close()
    return done


async def _answer(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    await reader.readexactly(int(headers[b"content-length"]))
    return int(first.split()[1]), headers


def served(port: int, requests: list[bytes], clients: int, seconds: float, turns: Turns) -> None:
    """Let so many clients send images for some seconds."""

    async def run() -> int:
        until = time.monotonic() + seconds
        return sum(await asyncio.gather(*(client(each, port, requests, until, turns) for each in range(clients))))

    start = time.monotonic()
    done = asyncio.run(run())
    turns.per_s.append(done / (time.monotonic() - start))


def starter_bento(layout: Layout, starter: Starter, *, workers: int) -> str:
    """Package the starter for so many workers in the folder of `layout`, and return its tag."""
    params = load_params(layout.params_file)
    params = params.model_copy(update={"serve": params.serve.model_copy(update={"workers": workers})})
    return package_starter(
        layout, params, starter_folder=starter.folder, starter_version=starter.version, about=starter.about
    ).tag


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photographs; default: rendered faces")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    project, images = Layout.find(or_here=True), images_of(options.photos)
    starter = fetch(project)
    if starter is None:
        raise SystemExit("the project has no starter; see docs/starter.md")
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    requests = [head % len(image) + image for image in images]
    ways: dict[tuple[int, int], tuple[Callable[[float, Turns], None], Turns]] = {}
    with ExitStack() as stack:
        for workers in options.workers:
            layout = Layout(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            for part in ("params.yaml", "requirements.lock", "service"):
                (layout.root / part).symlink_to((project.root / part).resolve())
            tag = starter_bento(layout, starter, workers=workers)
            service = stack.enter_context(running(layout, tag=tag))
            turn = stack.enter_context(
                predictors(starter.folder, count=workers, threads=share(workers)[1], images=images)
            )
            ways[workers, 0] = turn, Turns()
            for clients in options.clients:
                ways[workers, clients] = _way(service.port, requests, clients), Turns()
            served(service.port, requests, 4, 1, Turns())
        for _ in range(options.rounds):
            for turn, turns in ways.values():
                turn(options.seconds, turns)
    print(table({which: turns for which, (_, turns) in ways.items()}))


def _way(port: int, requests: list[bytes], clients: int) -> Callable[[float, Turns], None]:
    return lambda seconds, turns: served(port, requests, clients, seconds, turns)


def table(found: dict[tuple[int, int], Turns]) -> str:
    """Return the table; the keys are the number of workers and of clients, 0 for the bare Predictors."""
    rows = []
    for (workers, clients), turns in found.items():
        per_s, base = statistics.median(turns.per_s), statistics.median(found[workers, 0].per_s)
        who = f"{clients} clients" if clients > 1 else "1 client" if clients else "Predictors, no service"
        p50, p99 = np.percentile(turns.latencies_ms, [50, 99]) if turns.latencies_ms else (None, None)
        rows.append(
            [
                f"{workers} x {share(workers)[1]}, {who}",
                f"{per_s:.1f}",
                f"{100 * per_s / base:.0f} %",
                "" if p50 is None else f"{p50:.0f}",
                "" if p99 is None else f"{p99:.0f}",
                str(turns.refused),
                str(turns.failed),
            ]
        )
    heads = ["workers x threads", "images/s", "of the Predictors", "p50, ms", "p99, ms", "refused", "failed"]
    return markdown(heads, rows)


if __name__ == "__main__":
    main()
