"""What each extra costs: packages, megabytes to fetch and on the disk, seconds to install.

    python benchmarks/extras.py
    python benchmarks/extras.py ferops 'ferops[serve]'

The wheel of the commit that is checked out goes into a new environment for each extra, by pip and with the pins of
requirements.lock. All wheels are fetched first, which is not timed: that is the network's. The disk is what all files
of the environment take, pip and byte code included. It needs 15 GB in the folder for temporary files, and frees them.
"""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tables import markdown

ROOT = Path(__file__).parents[1]
EXTRAS = ("ferops", "ferops[serve]", "ferops[train]", "ferops[all]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", default=EXTRAS, help=f"by default {' '.join(EXTRAS)}")
    chosen = parser.parse_args()
    with TemporaryDirectory(prefix="ferops-extras-") as folder:
        root = Path(folder)
        (root / "pins.txt").write_text(pins((ROOT / "requirements.lock").read_text(encoding="utf-8")), encoding="utf-8")
        wheels = fetch(root, chosen.extras)
        rows = [[f"`{extra}`", *cost(root, wheels, extra)] for extra in chosen.extras]
    head = [f"Python {platform.python_version()}", "packages", "MB to fetch", "MB on disk", "seconds to install"]
    print(markdown(head, rows))


def pins(lock: str) -> str:
    """Return the constraints in a lock: its lines `name==version ; marker`, without hashes."""
    return "".join(f"{line}\n" for line in re.findall(r"^([a-z0-9-]+==[^\\\n]*?) *\\?$", lock, re.MULTILINE))


def fetch(root: Path, extras: Sequence[str]) -> Path:
    """Return the folder with the wheel of HEAD and all that the extras ask for; what has no wheel is built."""
    source, wheels, python = root / "source", root / "wheels", environment(root / "builder")
    source.mkdir()
    subprocess.run(f"git archive HEAD | tar -x -C '{source}'", shell=True, cwd=ROOT, check=True)
    pip(python, "wheel", "--no-deps", "--wheel-dir", wheels, source)
    (wheel,) = wheels.iterdir()
    names = ",".join(filter(None, (extra.removeprefix("ferops").strip("[]") for extra in extras)))
    wanted = f"{wheel}[{names}]" if names else wheel
    pip(python, "wheel", "--constraint", root / "pins.txt", "--wheel-dir", wheels, wanted)
    return wheels


def cost(root: Path, wheels: Path, extra: str) -> list[str]:
    """Install `extra` into a new environment under `root`; return packages, MB to fetch, MB on disk and seconds."""
    with TemporaryDirectory(dir=root) as folder:
        python = environment(Path(folder) / "environment")
        started = time.perf_counter()
        pip(python, "install", "--no-index", "--find-links", wheels, "--constraint", root / "pins.txt", extra)
        seconds = time.perf_counter() - started
        installed = {path.stem.lower() for path in Path(folder).rglob("site-packages/*.dist-info")}
        fetched = [path for path in wheels.iterdir() if "-".join(path.name.lower().split("-")[:2]) in installed]
        sizes = [sum(path.stat().st_size for path in fetched) / 1e6, megabytes(python.parents[1])]
    return [str(len(fetched)), *(f"{size:,.0f}" for size in sizes), f"{seconds:.0f}"]


def environment(folder: Path) -> Path:
    """Make an environment; return its Python."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def pip(python: Path, *arguments: str | Path) -> None:
    """Run pip, which prints errors alone; `-I`: PYTHONPATH and a user's own packages stay out."""
    subprocess.run([python, "-I", "-m", "pip", "-qq", *arguments], check=True)


def megabytes(folder: Path) -> float:
    """Return what the files below `folder` take on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6


if __name__ == "__main__":
    main()
