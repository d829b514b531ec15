from __future__ import annotations

from pathlib import Path

import pytest

from exports import write_export
from scoring_files import trained_on_wild


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "model", **trained_on_wild())
