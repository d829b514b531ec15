"""Two or more running services side by side: answers a second and latencies, in turns. Writes JSON.

    python benchmarks/answers.py ferops=http://127.0.0.1:3000 ray=http://127.0.0.1:8000 [--clients 1 4 8]
        [--pids ferops=1234 ray=1250] [--seconds 10] [--rounds 3] [--photos FOLDER] [--out answers.json]

The first is what the others are compared with: a ratio is the median over rounds of the same number of clients, so that
other work on the machine, which slows a round, slows both sides. The clients run in this process, and take CPU, too.
With `--pids`, the first process of each service: the CPU time that it and its descendants take for an answer, less what
they take idle, which says more on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from load import Load, images_of, percentiles

from ferops.files import write_json


async def turn(url: str, images: list[bytes], *, clients: int, seconds: float) -> Load:
    load = Load(images, seconds=seconds)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=clients)) as http:
        await asyncio.gather(*(load.client(http, number) for number in range(clients)))
    return load


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants so far."""
    first = psutil.Process(pid)
    return sum(each.cpu_times().user + each.cpu_times().system for each in [first, *first.children(recursive=True)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("services", nargs="+", metavar="NAME=URL")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--pids", nargs="+", default=[], metavar="NAME=PID")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--out", type=Path, default=Path("answers.json"))
    arguments = parser.parse_args()
    services = dict(each.split("=", 1) for each in arguments.services)
    images = images_of(arguments.photos)
    found: dict[str, Any] = {"cores": os.cpu_count(), "rounds": arguments.rounds, "seconds": arguments.seconds}
    failures: dict[str, int] = {}
    for url in services.values():  # a service that scales from idle, or loads at its first answer, is warm
        asyncio.run(turn(url, images, clients=1, seconds=3))
    pids = {name: int(pid) for name, pid in (each.split("=", 1) for each in arguments.pids)}
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    time.sleep(arguments.seconds)
    idle = {name: (cpu_s(pid) - before[name]) / arguments.seconds for name, pid in pids.items()}
    found["idle_cpu_percent"] = {name: round(100 * share, 1) for name, share in idle.items()}
    for clients in arguments.clients:
        loads: dict[str, list[Load]] = {name: [] for name in services}
        spent_s = dict.fromkeys(pids, 0.0)
        for _, (name, url) in itertools.product(range(arguments.rounds), services.items()):
            start, start_s = time.monotonic(), cpu_s(pids[name]) if name in pids else 0.0
            loads[name].append(asyncio.run(turn(url, images, clients=clients, seconds=arguments.seconds)))
            if name in pids:
                spent_s[name] += cpu_s(pids[name]) - start_s - idle[name] * (time.monotonic() - start)
        rates = {
            name: np.array([len(each.latencies_ms) / arguments.seconds for each in turns])
            for name, turns in loads.items()
        }
        first = next(iter(services))
        for name, turns in loads.items():
            together = [latency for each in turns for latency in each.latencies_ms]
            failures |= {f"{name} {what}": count for each in turns for what, count in each.failures.items()}
            found[f"{name}, {clients} clients"] = {
                "answers_per_s": [round(float(rate), 1) for rate in rates[name]],
                f"ratio_to_{first}": round(float(np.median(rates[name] / rates[first])), 2),
                "latency_ms": percentiles(together),
                "cpu_ms_an_answer": round(1e3 * spent_s[name] / max(1, len(together)), 1) if name in pids else None,
                "statuses": dict(sum((each.statuses for each in turns), start=type(turns[0].statuses)())),
            }
    found |= {"load_average": os.getloadavg()[0], "failures": failures}
    write_json(arguments.out, found)
    print(json.dumps(found, indent=2))
    return bool(failures)


if __name__ == "__main__":
    raise SystemExit(main())
