"""Run a command that prints Markdown tables, and keep them as benchmarks/results/NAME.json, which pages quote.

    python docs/measured.py video "python benchmarks/video.py starter"
    python docs/measured.py video     # the same command again

A page shows them between <!-- figures: video --> and <!-- end of figures -->, with the command, the commit and the
machine; <!-- figures: video 2 --> shows the second table alone. `python docs/figures.py --pages` fills the blocks.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from ferops.files import write_text
from ferops.machine import cores, cpu_name
from ferops.threads import usage

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
CODE = ("benchmarks", "service", "src", "requirements.lock")
WIDTH = 150
TABLE = re.compile(r"(?:^\|.*\|[ ]*\n)+", re.MULTILINE)
RULE = re.compile(r"\|(?: *:?-+:? *\|)+")


class Measured(BaseModel):
    """What a command printed: `tables` are rows of cells, the head first, then the rule (`---:` is a number).

    `others_busy` is how many cores' worth of other work the machine did meanwhile, on average. `copied` are figures of
    before this record: written into the page by hand, or by the benchmark, with about this commit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    commit: str
    date: str
    cpu: str
    cores: int
    others_busy: float = 0.0
    minutes: float | None = None
    copied: bool = False
    tables: tuple[tuple[tuple[str, ...], ...], ...]

    @model_validator(mode="after")
    def _even(self) -> Self:
        if not self.tables or any(len({len(row) for row in table}) != 1 for table in self.tables):
            raise ValueError("no table, or one whose rows differ in length")
        return self

    @classmethod
    def read(cls, name: str) -> Self:
        return cls.model_validate_json((RESULTS / f"{name}.json").read_bytes())

    def markdown(self, number: int | None = None) -> str:
        """Return the tables, or table `number` (from 1), and the line that says where they are from."""
        chosen = self.tables if number is None else self.tables[number - 1 : number]
        tables = "\n".join("".join(f"| {' | '.join(row)} |\n" for row in table) for table in chosen)
        day = datetime.fromisoformat(self.date)
        where = f"{self.cpu}, {self.cores} core{'s' if self.cores > 1 else ''}"
        busy = f", {self.others_busy:.1f} of them kept busy by other work" if self.others_busy >= 0.1 else ""
        how = "taken over from the page, as of " if self.copied else ""
        source = f"By `{self.command}`; {how}commit `{self.commit}`, {day.day} {day:%B %Y}, {where}{busy}."
        return f"{tables}\n{textwrap.fill(source, WIDTH, break_long_words=False, break_on_hyphens=False)}\n"


def tables_in(text: str) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Yield the Markdown tables of `text` as rows of cells."""
    for found in TABLE.finditer(text):
        lines = found[0].splitlines()
        if len(lines) > 2 and RULE.fullmatch(lines[1].strip()):
            yield tuple(tuple(cell.strip() for cell in line.strip()[1:-1].split("|")) for line in lines)


def measure(command: str) -> Measured:
    """Run `command` in the repository, showing what it prints.

    Raises:
        SystemExit: the code differs from its commit, the command fails, or it prints no table.
    """
    if _git("status", "--porcelain", "--", *CODE):
        raise SystemExit("commit first: the figures name a commit, and the code here is another")
    before, printed = usage(), []
    with subprocess.Popen(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {command}")
    after, tables = usage(), tuple(tables_in("".join(printed)))
    if not tables:
        raise SystemExit(f"no Markdown table in what this prints: {command}")
    seconds = time.monotonic() - before.at_s
    return Measured(
        command=command,
        commit=_git("rev-parse", "--short=7", "HEAD"),
        date=datetime.now(UTC).date().isoformat(),
        cpu=cpu_name(),
        cores=cores(),
        others_busy=round(max(0.0, after.for_others - before.for_others) / seconds, 2),
        minutes=round(seconds / 60, 1),
        tables=tables,
    )


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the file in benchmarks/results, and of the blocks in pages")
    parser.add_argument("command", nargs="?", help="as a shell takes it, in quotes; by default the file's own")
    chosen = parser.parse_args()
    found = measure(chosen.command or Measured.read(chosen.name).command)
    RESULTS.mkdir(exist_ok=True)
    write_text(RESULTS / f"{chosen.name}.json", found.model_dump_json(indent=1) + "\n")
    from docs.figures import write_pages

    write_pages()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # `docs` is no installed package
    main()
