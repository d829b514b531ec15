"""Record sessions, word by word: a first one as docs/session.md, one of operation as docs/operation.md.

    python docs/sessions.py first photo.jpg photos     # photos: a folder with a folder for each class
    python docs/sessions.py operation                  # about 15 minutes

The commands run in a new folder, on a clone of HEAD; the first session in a new environment too. What they print is
kept as it is, but for progress bars, the stages of `learn` and `run`, and the ends of long lines; times of more than a
second are noted.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2

from ferops.classes import DEFAULT_CLASSES
from ferops.datasets.images import decode
from ferops.files import write_text
from ferops.formats import duration
from ferops.machine import cores, cpu_name

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PORT = 3000
PATIENT = ("curl", "--silent", "--fail", "--retry", "240", "--retry-delay", "1", "--retry-all-errors")
WIDTH = 240
FIRST = (
    "python3 -m venv fer && source fer/bin/activate",
    r"grep -E '^[a-z0-9-]+==' ferops/requirements.lock | sed 's/ \\$//' > pins.txt",
    "pip install --quiet -c pins.txt './ferops[train]'",
    "ferops predict photo.jpg",
    "ferops learn photos",
    "cd photos-model",
    "ferops promote 1",
    "ferops serve &",
    "curl -s -F image=@../photo.jpg http://127.0.0.1:3000/predict | python3 -m json.tool --compact",
)
"""Typed in one shell after `git clone`; what ends in `&` is waited for until it is ready."""

WINDOW = 252
OPERATION = (
    "ferops run",
    "ferops promote 1",
    "sed -i 's/log_dir: null/log_dir: traffic/' params.yaml",
    "ferops serve --follow &",
    "ask() { for image in ../people/$1/*.png; do curl -s -o answer.json --interface 127.0.0.$((RANDOM % 40 + 1)) "
    "-F image=@$image http://127.0.0.1:3000/predict; done; sleep 6; }",
    f"ask morning; ferops monitor --window {WINDOW}",
    f"ask evening; ferops monitor --window {WINDOW}",
    "sed -i 's/    epochs: 8/    epochs: 10/' params.yaml",
    "ferops run",
    "sed -i 's/^  share: 0.1$/  share: 0.5/; s/min_images: 200/min_images: 100/' params.yaml",
    "ferops promote 2 --as canary; sleep 60",
    "ask morning; ask morning; ferops rollout",
    "ferops promote 2; sleep 10; ask morning; ferops rollout",
    'grep -o \'"model_version":"[0-9]*"\' answer.json',
    'ferops rollback; sleep 6; curl -s http://127.0.0.1:3000/info | grep -o \'"model_version":"[0-9]*"\'',
)
"""Typed in a clone after `make install`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    kind = kinds.add_parser("first")
    kind.add_argument("photo", type=Path)
    kind.add_argument("photos", type=Path)
    kind.set_defaults(record=lambda folder, asked: first(folder, asked.photo, asked.photos))
    kinds.add_parser("operation").set_defaults(record=lambda folder, _: operation(folder))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="session-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        subprocess.run(["git", "clone", "--quiet", ROOT, folder / "ferops"], check=True)
        asked.record(folder, asked)


def first(folder: Path, photo: Path, photos: Path) -> None:
    shutil.copy(photo, folder / "photo.jpg")
    shutil.copytree(photos, folder / "photos")
    session = typed(FIRST, folder, home=folder)
    counts = {each.name: sum(1 for _ in each.iterdir()) for each in sorted(photos.iterdir()) if each.is_dir()}
    words = " and ".join(f"{count} of `{name}`" for name, count in counts.items())
    page = f"""# A first session

Everything that a person typed and saw, from a clone in `ferops` to an answer of their own model. `photos` has
{words}, classes that the starter does not know. {circumstances("first photo.jpg photos")}

```console
{session}
```

What the parts mean: [the tutorial](tutorial.md), [your own images](own-data.md), [the answer](serving.md#the-answer).
"""
    write_text(DOCS / "session.md", page)


def operation(folder: Path) -> None:
    images = people(folder / "people")
    session = typed(OPERATION, folder / "ferops", home=folder, env=environment(folder / "ferops"))
    page = f"""# A session of operation

The whole loop, as typed and seen: train, promote, serve, watch, notice drift, train again, try the new version on half
of the clients, promote it, go back. The images are rendered people whom no model has seen: {images} in good light
(`morning`), {images} in low light (`evening`); the clients are curl with 40 addresses. {circumstances("operation")}

```console
{session}
```

What the parts mean: [judging](judging.md), [watching the service](monitoring.md), [trying a new version](rollout.md).
"""
    write_text(DOCS / "operation.md", page)


def circumstances(arguments: str) -> str:
    """Return where and when it was recorded, and how it is again."""
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    today = datetime.now(UTC)
    return (
        f"On {cores()} cores of {cpu_name()},\n{today.day} {today:%B %Y}, commit `{commit}`; the packages were on this "
        f"machine already.\n`python docs/sessions.py {arguments}` records it anew."
    )


def people(folder: Path) -> int:
    """Render people in good light and others in low light, as many images each as a window has; return how many."""
    sys.path.append(str(ROOT / "benchmarks"))
    from monitor import low_light, rendered

    rows = rendered(2 * WINDOW // len(DEFAULT_CLASSES))
    for place, row in enumerate(rows):
        image, light = decode(row["image"]), "morning" if place < WINDOW else "evening"
        (folder / light).mkdir(parents=True, exist_ok=True)
        shown = image if light == "morning" else low_light(image)
        cv2.imwrite(str(folder / light / f"{place:04}.png"), shown[:, :, ::-1])
    return len(rows) // 2


def environment(clone: Path) -> dict[str, str]:
    """Return an environment in which `ferops` is that of the clone, as after `make install`."""
    found = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.environ | {"PATH": os.pathsep.join(found), "PYTHONPATH": str(clone / "src")}


def typed(commands: Sequence[str], folder: Path, *, home: Path, env: dict[str, str] | None = None) -> str:
    """Type `commands` into one shell in `folder`; return what it shows, in which `home` is ~."""
    lines: list[str] = []
    with subprocess.Popen(
        ["bash"],
        cwd=folder,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        assert shell.stdin
        assert shell.stdout
        try:
            for command in commands:
                started = time.monotonic()
                shell.stdin.write(f'{command}\necho "== $?"\n')
                shell.stdin.flush()
                said: list[str] = []
                while (line := shell.stdout.readline()) and not line.startswith("== "):
                    said.append(line)
                print(*said, sep="", end="", flush=True)
                if line.strip() != "== 0":
                    raise SystemExit(f"{command} ended with {line.strip() or 'the shell'}")
                if command.endswith("&"):
                    subprocess.run([*PATIENT, f"http://127.0.0.1:{PORT}/readyz"], stdout=subprocess.DEVNULL, check=True)
                seconds = time.monotonic() - started
                lines += [f"$ {command}", *abridged([plain(each).replace(str(home), "~") for each in said])]
                lines += [f"# {duration(seconds)}"] if seconds >= 1 else []
        finally:
            shell.stdin.write("kill %1\nexit\n")
            shell.stdin.flush()
    return "\n".join(lines)


def plain(line: str) -> str:
    """Return the line as a terminal shows it at last: without what a progress bar overwrote."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line.rstrip("\n").rsplit("\r", 1)[-1])


def abridged(said: list[str]) -> list[str]:
    """Return the lines without what pip says of this machine's settings, what the stages print and what the server
    logs, none too long."""
    kept = [line for line in said if not line.startswith("WARNING: Location") and "[INFO]" not in line]
    stages = [number for number, line in enumerate(kept) if line.startswith("Running stage")]
    if stages:
        end = next(number for number in range(stages[-1], len(kept)) if kept[number].startswith("Data  "))
        kept[stages[0] : end] = [f"... ({len(stages)} stages, each with its summary)", ""]
    return [line if len(line) <= WIDTH else f"{line[:WIDTH]} ..." for line in kept]


if __name__ == "__main__":
    main()
