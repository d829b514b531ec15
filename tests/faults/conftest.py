"""One running stack for all tests that attack it: starting it takes a while."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ferops.layout import Layout
from ferops.local import stack
from stacks import Running, free_ports, small_project


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The stack of a small project. Its folders can be entered by everybody, so that only its own modes protect it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_"))]:
            patch.delenv(name)
        base = tmp_path_factory.mktemp("stack")
        layout = Layout(small_project(base))
        for folder in (base.parents[1], base.parents[0], base, layout.root):
            folder.chmod(0o755)
        ports = free_ports()
        try:
            stack.up(layout, ports)
            yield Running(layout, ports)
        finally:
            stack.down(layout)
