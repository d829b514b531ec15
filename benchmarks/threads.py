"""How long a training step takes by number of threads, on a free machine and beside other work, in one run.

    python benchmarks/threads.py                                # about 3 minutes on 2 cores
    python benchmarks/threads.py --architecture resnet18 --steps 10

Each figure is the median step of a process of its own: EfficientNet-Lite0 on 64 px, batch 32, FP32, forward, backward
and update. `default` is PyTorch as it comes; `passive` has OMP_WAIT_POLICY=passive, with as many threads; `chosen` is
what `ferops train` does (ferops.threads); `one` is one thread. Beside other work, a busy loop runs for each core. The
processes take turns, and the whole is repeated --rounds times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tables import markdown

from ferops import threads
from ferops.machine import affinity, cores, cpu_name

CONTENDERS = {"default": {}, "passive": {"OMP_WAIT_POLICY": "passive"}, "chosen": {}, "one": {threads.SETTING: "1"}}
BUSY_LOOP = "while True: pass"
LIMIT_S = 300


def main() -> None:
    options = _arguments()
    if options.turn:
        print(*turn(options))
        return
    before = threads.usage()
    time.sleep(3)
    now = threads.usage()
    others = (now.for_others - before.for_others) / (now.at_s - before.at_s)
    print(f"{cores()} cores of {cpu_name()}; {options.architecture}; others keep {others:.1f} cores busy already")
    rows = []
    for place, loops in (("alone", 0), ("beside a busy loop for each core", len(affinity()))):
        found: dict[str, list[tuple[float, int]]] = {name: [] for name in CONTENDERS}
        with busy(loops):
            for number in range(options.rounds):
                for name in list(CONTENDERS)[:: 1 if number % 2 == 0 else -1]:
                    found[name].append(measured(name, options))
        ms = {name: statistics.median(each for each, _ in values) for name, values in found.items()}
        chosen = "/".join(str(count) for count in sorted({count for _, count in found["chosen"]}))
        cells = [*(f"{ms[name]:.0f}" for name in CONTENDERS), chosen, f"{ms['default'] / ms['chosen']:.1f}"]
        rows.append([place, *cells])
    print(markdown(["ms a step", *CONTENDERS, "threads chosen", "default / chosen"], rows))


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep `loops` cores busy, for a bounded time."""
    command = ["timeout", "1800", sys.executable, "-c", BUSY_LOOP]
    others = [subprocess.Popen(command) for _ in range(loops)]
    try:
        yield
    finally:
        for each in others:
            each.terminate()
            each.wait()


def measured(name: str, options: argparse.Namespace) -> tuple[float, int]:
    """Return the milliseconds of a step in a process of its own, and its threads."""
    clean = {key: value for key, value in os.environ.items() if key not in (threads.SETTING, *threads.NO_SPINNING)}
    arguments = ["--turn", name, "--architecture", options.architecture, "--steps", str(options.steps)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=clean | CONTENDERS[name],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=LIMIT_S,
    )
    ms, count = done.stdout.split()
    return float(ms), int(count)


def turn(options: argparse.Namespace) -> tuple[float, int]:
    if options.turn == "chosen":
        threads.begin()
    import timm
    import torch

    if options.turn == "chosen":
        threads.choose("train")
    torch.manual_seed(0)
    net = timm.create_model(options.architecture, num_classes=6).to(memory_format=torch.channels_last)
    faces = torch.randn(32, 3, 64, 64).to(memory_format=torch.channels_last)
    labels = torch.arange(32) % 6
    optimizer = torch.optim.AdamW(net.parameters(), fused=True)
    ms = []
    for _ in range(1 + options.steps):
        started = time.perf_counter()
        torch.nn.functional.cross_entropy(net(faces), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        ms.append((time.perf_counter() - started) * 1e3)
    return statistics.median(ms[1:]), torch.get_num_threads()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="tf_efficientnet_lite0", help="of timm")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turn", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
