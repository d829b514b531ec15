"""The notebooks run from their first cell to the last, in a fresh process: they are plain Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ferops.orchestration.child import child_environment

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


def cells(name: str) -> list[str]:
    notebook = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_python_and_git_holds_no_output(name: str) -> None:
    for number, cell in enumerate(cells(name), 1):
        compile(cell, f"{name}, code cell {number}", "exec")
    notebook = json.loads((NOTEBOOKS / name).read_text(encoding="utf-8"))
    assert [cell for cell in notebook["cells"] if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("predict.ipynb", "rendered as happy", marks=pytest.mark.slow),
        pytest.param("own_data.ipynb", "engaged ->", marks=pytest.mark.soak),  # a whole training
    ],
)
def test_a_notebook_runs(tmp_path: Path, name: str, said: str) -> None:
    clone = tmp_path / "ferops"  # nothing is written into this folder
    subprocess.run(["git", "clone", "-q", NOTEBOOKS.parent, clone], check=True)
    script = clone / "notebooks" / f"{name}.py"
    script.write_text("\n\n".join(cells(name)), encoding="utf-8")
    environment = child_environment() | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script], cwd=script.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
