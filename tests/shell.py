"""Run a script as a user would type it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ferops.orchestration.child import child_environment


def run(folder: Path, script: str) -> str:
    """Run the bash `script` in `folder`, with a home of its own beside it; return what it prints. It must succeed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=child_environment() | {"DVC_NO_ANALYTICS": "1", "HOME": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout
