"""A SIGKILL while BentoML builds: nothing goes on writing, and the next `package` leaves the Bento and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from ferops.config import Params
from ferops.layout import Layout
from ferops.packaging.bento import bento_folder, package, packaged

ROOT = Path(__file__).parents[2]
PACKAGE = """
import sys
from pathlib import Path
from ferops.layout import Layout
from ferops.packaging.bento import package
from sample_images import quick_params
package(Layout(Path(sys.argv[1])), quick_params(), model_folder=Path(sys.argv[2]), version="1")
"""


@pytest.mark.slow
def test_the_next_package_removes_what_a_kill_left(tmp_path: Path, make_export: Any, quick_params: Params) -> None:
    layout, model, temporary = Layout(tmp_path / "project"), make_export(), tmp_path / "tmp"
    shutil.copytree(ROOT / "service", layout.root / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "requirements.lock", layout.root / "requirements.lock")
    temporary.mkdir()
    search = {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path]), "TMPDIR": str(temporary)}
    for point in ("store", "store/bentos"):  # when BentoML has begun to start; when it writes
        process = subprocess.Popen(
            [sys.executable, "-c", PACKAGE, str(layout.root), str(model)], env=os.environ | search
        )
        building = wait_for_folder(layout.root / "bentoml", point, process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        assert building.exists()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
        assert packaged(layout) is None
    assert package(layout, quick_params, model_folder=model, version="1").created
    left = sorted(path.name for path in (layout.root / "bentoml").iterdir())
    assert left == ["bentos", "package.lock", "serving.json"]
    assert (bento_folder(layout, "ferops:v1") / "src" / "model" / "config.json").exists()
    assert list(temporary.iterdir()) == []


def wait_for_folder(home: Path, point: str, process: subprocess.Popen[bytes]) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None
        for found in home.glob(f".building.*.tmp/{point}"):
            return found
        time.sleep(0.01)
    pytest.fail(f"no {point} within 120 s")
