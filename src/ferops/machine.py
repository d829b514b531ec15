"""This machine: its CPU, its cores, and the one OpenVINO core of the process."""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CONVERTER = "openvino.tools.ovc"
CPUINFO = Path("/proc/cpuinfo")
CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def cpu_name() -> str:
    """Return the CPU's model name as Linux gives it, else what the platform module knows."""
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def affinity() -> set[int]:
    """Return the numbers of the cores that this process may run on."""
    return os.sched_getaffinity(0) if sys.platform == "linux" else set(range(os.cpu_count() or 1))


def cores() -> int:
    """Return how many cores this process may keep busy, at least 1: those it may run on, less by its cgroup's quota."""
    return max(1, round(min([len(affinity()), *_quotas()])))


def _quotas() -> Iterator[float]:
    """Yield the quotas, in cores, of this process's cgroup and those above it (cgroups(7), version 2 and 1)."""
    for line in CGROUP.read_text(encoding="utf-8").splitlines() if CGROUP.exists() else ():
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers == "":
            root, names = CGROUPS, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            root, names = CGROUPS / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):  # in a container the path may be the host's: what exists counts
            files = [folder / name for name in names]
            if folder.is_relative_to(root) and all(file.is_file() for file in files):
                quota, period = " ".join(file.read_text(encoding="utf-8") for file in files).split()
                if quota not in ("max", "-1"):
                    yield int(quota) / int(period)


def import_openvino() -> Any:
    """Return the module openvino, which would otherwise report that it was imported, and from where, to its makers.

    The package that does so, openvino_telemetry, asks nobody and has no switch but a file in the home folder. Where it
    cannot be imported, OpenVINO and NNCF do without.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # Python's way to say: do not import
    sys.modules.setdefault(_CONVERTER, None)  # type: ignore[arg-type] # of other frameworks' models: a tenth of a start
    import openvino

    if sys.modules[_CONVERTER] is None:
        del sys.modules[_CONVERTER]
    return openvino


@functools.cache
def openvino_core() -> Any:
    """Return the process's one OpenVINO core.

    One, and never freed: on CPUs with AMX each core gives the main thread a signal stack, and a second core that dies
    after the first one hands back the freed stack of that one. The next signal, a SIGTERM say, crashes the process.
    """
    return import_openvino().Core()
