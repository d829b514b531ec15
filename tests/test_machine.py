from __future__ import annotations

import platform
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
