"""How many threads this process computes with: one for each free core, and none that spins.

The threads of a network's layer wait for each other before the next one. Where other work holds a core, each of these
thousands of waits lasts until the scheduler gives that core back: two threads then take many times as long as one
(benchmarks/threads.py).
"""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass

from ferops.machine import affinity, cores

SETTING = "OMP_NUM_THREADS"
"""The environment variable that decides instead. No setting in params.yaml: it belongs to the machine."""

NO_SPINNING = {
    "OMP_WAIT_POLICY": "passive",  # libgomp, which PyTorch, faiss and scikit-learn bring
    "KMP_BLOCKTIME": "0",  # Intel's OpenMP
    "OPENBLAS_THREAD_TIMEOUT": "4",  # 2^4 cycles; by default 2^26
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER": "0",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN": "0",
}
"""What keeps the libraries' threads asleep while they wait, from the moment they are loaded."""

WINDOW_S = 0.5
"""Seconds of work that the load is measured over, at least: shorter, a single timer decides."""

SPARE = 0.25
"""Cores' worth of other work that costs no thread: a desktop always does something."""


@dataclass(frozen=True)
class Usage:
    """What the process's cores have done so far: `for_others`, in core-seconds, at the time `at_s`."""

    at_s: float
    for_others: float


def usage() -> Usage:
    """Read the kernel's counters."""
    import psutil

    mine, per_core = affinity(), psutil.cpu_times(percpu=True)
    busy = sum(_busy(times) for number, times in enumerate(per_core) if number in mine)
    return Usage(time.monotonic(), busy - sum(os.times()[:4]))


def _busy(times: object) -> float:
    names = ("user", "nice", "system", "irq", "softirq", "steal")  # macOS has the first three
    return sum(getattr(times, name, 0.0) for name in names)


class _Choice:
    """The process's own: what the user set, the counters when it was last made, and the number of threads."""

    by_user: int | None = None
    since: Usage | None = None
    count: int | None = None


def begin() -> None:
    """Keep libraries from spinning, and start to measure. Call it before any of them is loaded."""
    for name, value in NO_SPINNING.items():
        os.environ.setdefault(name, value)
    _Choice.by_user, _Choice.since, _Choice.count = _setting(), usage(), None


def current() -> int:
    """Return the number of threads: what `choose` chose, else OMP_NUM_THREADS, else one for each core."""
    return _Choice.count or _setting() or cores()


def limit() -> int | None:
    """Return `current` where it is not simply every core; None leaves the choice to a library that may know better."""
    return None if current() == len(affinity()) else current()


def choose(verb: str, *, say: bool = True) -> int:
    """Choose the number from what is free, make the loaded libraries use it, and say so on standard error.

    Call it after the libraries are loaded: the load is measured since `begin`.
    """
    count, why = _free()
    use(count)
    if say:
        print(f"{verb}: computes with {_threads(count)}{why}", file=sys.stderr, flush=True)
    return count


def choose_again() -> str:
    """Choose from what was free since the last choice, if there was one; return what to say if the number changed."""
    if _Choice.count is None:
        return ""
    before, (count, why) = _Choice.count, _free()
    if count == before:
        return ""
    use(count)
    return f"goes on with {_threads(count)}{why}"


def _free() -> tuple[int, str]:
    """Return how many threads fit into what others leave, and the reason if that is not every core."""
    if _Choice.by_user:
        return _Choice.by_user, f", as {SETTING} says"
    since = _Choice.since or usage()
    time.sleep(max(0.0, since.at_s + WINDOW_S - time.monotonic()))
    _Choice.since = now = usage()
    others = max(0.0, (now.for_others - since.for_others) / (now.at_s - since.at_s))
    count = max(1, min(cores(), math.floor(len(affinity()) - others + SPARE)))
    if count == cores():
        return count, ""
    return count, f": other work keeps {others:.1f} of {len(affinity())} cores busy; {SETTING} sets another number"


def use(count: int) -> None:
    """Make the loaded libraries, and what is loaded later, compute with so many threads."""
    from threadpoolctl import threadpool_limits

    _Choice.count = count
    os.environ[SETTING] = str(count)  # for what is loaded or started later
    threadpool_limits(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(count)


def _setting() -> int | None:
    """The user's number; OpenMP allows a list, one for each level of nesting."""
    first = os.environ.get(SETTING, "").partition(",")[0].strip()
    return int(first) if first.isdigit() and int(first) else None


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
