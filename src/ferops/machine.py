"""This machine: its CPU, its cores, and the one OpenVINO core of the process."""

from __future__ import annotations

import functools
import os
import platform
import sys
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")


def cpu_name() -> str:
    """Return the CPU's model name as Linux gives it, else what the platform module knows."""
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@functools.cache
def openvino_core() -> Any:
    """Return the process's one OpenVINO core.

    One, and never freed: on CPUs with AMX each core gives the main thread a signal stack, and a second core that dies
    after the first one hands back the freed stack of that one. The next signal, a SIGTERM say, crashes the process.
    """
    import openvino

    return openvino.Core()
