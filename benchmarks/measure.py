"""Ratios that hold on a shared machine, and work in a process of its own.

Another process that takes a core slows whatever runs at that moment. So what is compared takes turns, each as long as
the other, and a ratio is the median over pairs of neighbouring turns: whatever lasts longer than a turn slows both.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

Turn = Callable[[], float]
"""Works for a moment and returns seconds per image."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def interleave(contenders: dict[str, Turn], *, rounds: int) -> dict[str, list[float]]:
    """Let the contenders take turns, A B C, C B A, and so on; return the seconds per image of each turn.

    A first turn of each, which prepares kernels and buffers, is not counted.
    """
    for turn in contenders.values():
        turn()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for name in order:
            seconds[name].append(contenders[name]())
    return seconds


def images_per_s(seconds: list[float]) -> float:
    return 1.0 / statistics.median(seconds)


def times_as_fast(seconds: list[float], as_: list[float]) -> dict[str, float]:
    """Return how many times as fast `seconds` is as `as_`: the median over rounds, `ratio`, and its quartiles."""
    ratios = [slow / fast for fast, slow in zip(seconds, as_, strict=True)]
    if len(ratios) < 2:
        return {"ratio": ratios[0], "low": ratios[0], "high": ratios[0]}
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"ratio": middle, "low": low, "high": high}


def median_s(run: Callable[[], object], *, budget_s: float) -> float:
    """Return the median seconds of a call, measured for about `budget_s` and at least three times."""
    run()  # the first call prepares
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < budget_s:
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return `work(*arguments)` of a fresh process: its peak memory is its own, and its end, however bad, is not ours.

    Raises whatever `work` raises; BrokenProcessPool if the process was killed (by the kernel, for want of memory).
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
