from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ferops import machine


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nprocessor\t: 1\nmodel name\t: Other\n",
            "Some CPU @ 2.00GHz",
        ),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", platform.processor() or platform.machine()),  # as ARM says it
        (None, platform.processor() or platform.machine()),
    ],
)
def test_the_cpu_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, name: str) -> None:
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(machine, "CPUINFO", path)
    assert name
    assert machine.cpu_name() == name


def test_openvino_has_one_core() -> None:
    assert machine.openvino_core() is machine.openvino_core()


def test_openvino_loads_its_converter_only_when_asked_and_reports_nothing(tmp_path: Path) -> None:
    """Its package openvino_telemetry would send each import to its makers, and keep a number for that in ~/intel."""
    asked = """
import sys
from ferops.machine import openvino_core
openvino_core()
assert not [name for name, module in sys.modules.items() if module and ("tools.ovc" in name or "telemetry" in name)]
from openvino.tools.ovc import convert_model
"""
    outside_ci = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-W", "ignore", "-c", asked], check=True, timeout=60, env=outside_ci)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),  # of the folder above
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000", "a/cpu.max": "150000 50000"}, 3),
        ("0::/\n", {"cpu.max": "20000 100000"}, 1),  # never less than one
        ("0::/\n", {"cpu.max": "max 100000"}, 8),
        ("0::/../host\n", {"cpu.max": "400000 100000"}, 4),
        (
            "3:cpu,cpuacct:/x\n2:memory:/y\n0::/x\n",
            {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}
            | {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "50000"},
            5,
        ),
        ("1:memory:/docker/1\n", {"memory/docker/1/cpu.max": "100000 100000"}, 8),
        (None, {}, 8),
    ],
)
def test_a_quota_of_the_cgroup_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cgroup: str | None, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(machine, "affinity", lambda: set(range(8)))
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "fs")
    if cgroup is not None:
        (tmp_path / "cgroup").write_text(cgroup, encoding="utf-8")
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    assert machine.cores() == cores


def test_nothing_imports_openvino_past_that() -> None:
    sources = [path for path in Path(machine.__file__).parent.rglob("*.py") if path != Path(machine.__file__)]
    assert [path.name for path in sources if re.search(r"^ *import openvino", path.read_text(), re.MULTILINE)] == []
