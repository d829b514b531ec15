"""Record a first session, word by word, as docs/session.md: install, label a photo, learn from photos, serve.

    python docs/session.py photo.jpg photos     # photos: a folder with a folder for each class

The commands run in a new folder and a new environment, on a clone of HEAD. What they print is kept as it is, but for
progress bars, the stages of `learn`, and the ends of long lines; times of more than a second are noted.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from ferops.files import write_text
from ferops.formats import duration
from ferops.machine import cores, cpu_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "session.md"
PORT = 3000
PATIENT = ("curl", "--silent", "--fail", "--retry", "240", "--retry-delay", "1", "--retry-all-errors")
WIDTH = 240
COMMANDS = (
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("photos", type=Path)
    asked = parser.parse_args()
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    with tempfile.TemporaryDirectory(prefix="session-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        subprocess.run(["git", "clone", "--quiet", ROOT, folder / "ferops"], check=True)
        shutil.copy(asked.photo, folder / "photo.jpg")
        shutil.copytree(asked.photos, folder / "photos")
        said = typed(folder)
    counts = {each.name: sum(1 for _ in each.iterdir()) for each in sorted(asked.photos.iterdir()) if each.is_dir()}
    write_text(PAGE, page(said, counts, commit))


def typed(folder: Path) -> list[str]:
    """Type COMMANDS into one shell in `folder`; return its lines."""
    lines: list[str] = []
    with subprocess.Popen(
        ["bash"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as shell:
        assert shell.stdin
        assert shell.stdout
        try:
            for command in COMMANDS:
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
                lines += [f"$ {command}", *abridged([plain(each).replace(str(folder), "~") for each in said])]
                lines += [f"# {duration(seconds)}"] if seconds >= 1 else []
        finally:
            shell.stdin.write("kill %1\nexit\n")
            shell.stdin.flush()
    return lines


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


def page(lines: list[str], counts: dict[str, int], commit: str) -> str:
    photos = " and ".join(f"{count} of `{name}`" for name, count in counts.items())
    where, today = f"{cores()} cores of {cpu_name()}", datetime.now(UTC)
    session = "\n".join(lines)
    return f"""# A first session

Everything that a person typed and saw, from a clone in `ferops` to an answer of their own model. `photos` has
{photos}, classes that the starter does not know. On {where},
{today.day} {today:%B %Y}, commit `{commit}`; the packages were on this machine already.
`python docs/session.py` records it anew.

```console
{session}
```

What the parts mean: [the tutorial](tutorial.md), [your own images](own-data.md), [the answer](serving.md#the-answer).
"""


if __name__ == "__main__":
    main()
