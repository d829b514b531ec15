"""benchmarks/extras.py: the constraints that it installs with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def test_the_pins_are_all_of_the_lock_without_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import extras

    for name in ("extras", "tables"):  # other benchmarks' tests import their own
        sys.modules.pop(name)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found = [Requirement(line) for line in extras.pins(lock).splitlines()]
    assert len(found) == lock.count("==") - lock.count(" == ")
    assert all(str(pin.specifier).startswith("==") for pin in found)
    assert {"torch", "ruamel-yaml", "numpy"} <= {pin.name for pin in found}
    assert any(pin.marker for pin in found)
    assert extras.pins("a==1 \\\n    --hash=sha256:00\nb==2 ; python_version < '3.12' \\\n    --hash=sha256:00\n") == (
        "a==1\nb==2 ; python_version < '3.12'\n"
    )
