"""Figures that pages quote come from finished runs: docs/figures.json, and the tables that are made of it.

    python docs/figures.py            # after a run: quote it from now on, in this order of runs
    python docs/figures.py --check    # in CI: does the run in this folder agree with the one that is quoted?
    python docs/figures.py --project ../other
    python docs/figures.py --pages    # fill the tables of all pages again, those of docs/measured.py included

Weights differ from one kind of CPU, and number of threads, to another, so a run's intervals need only overlap with the
quoted ones. What does not depend on the CPU must be equal: data version, split, number of faces, chance.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from ferops.files import read_bytes, write_text
from ferops.formats import duration
from ferops.layout import Layout
from ferops.records.metrics import Interval
from ferops.records.train import read_history

DOCS = Path(__file__).parent
ROOT = DOCS.parent
QUOTED = DOCS / "figures.json"
PAGES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
COMMAND = "python docs/figures.py --pages"
BLOCK = re.compile(
    r"(<!-- figures: (?P<name>[\w -]+?)(?: (?P<number>\d))? -->\n).*?(?P<end>\n<!-- end of figures -->)", re.DOTALL
)


class _Part(BaseModel):
    """A part of a record that another version of ferops may have written: what is quoted, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Provenance(_Part):
    data_version: str
    split_hash: str
    git_commit: str
    seed: int
    preset: str
    synthetic: bool


class Model(_Part):
    accuracy: Interval
    macro_f1: Interval
    accuracy_missed_as_wrong: Interval


class Difference(_Part):
    accuracy: Interval
    macro_f1: Interval


class Chance(_Part):
    accuracy: float


class Cost(_Part):
    cpu: str
    file_mb: float


class Metrics(_Part):
    """Of artifacts/evaluate/metrics.json."""

    provenance: Provenance
    n: int
    clusters: int
    candidate: Model
    baseline: Model
    candidate_minus_baseline: Difference
    chance: Chance
    cost: Cost


class Training(_Part):
    """Of reports/train/NAME/summary.json; `seconds` of all epochs, those before an interruption included."""

    architecture: str
    threads: tuple[int, ...] | None = None
    epochs: int
    best_epoch: int
    val_accuracy: float
    val_macro_f1: float
    peak_memory_mb: dict[str, float]
    seconds: float


class Run(_Part):
    """A finished run of the pipeline, by `command`."""

    command: Literal["ferops run"] = "ferops run"
    metrics: Metrics
    training: dict[str, Training]

    @classmethod
    def of(cls, project: Path) -> Self:
        """Read the run in the folder `project`."""
        layout = Layout(project)
        metrics = read_bytes(layout.artifacts("evaluate") / "metrics.json", made_by="ferops run")
        training = {}
        for name in ("candidate", "baseline"):
            summary = read_bytes(layout.reports("train") / name / "summary.json", made_by="ferops run")
            training[name] = Training.model_validate_json(summary)
            history = layout.model(name) / "history.json"
            if history.exists():  # the summary counts from the last interruption on
                seconds = sum(epoch.seconds for epoch in read_history(history, made_by="ferops run"))
                training[name] = training[name].model_copy(update={"seconds": round(seconds, 1)})
        return cls(metrics=Metrics.model_validate_json(metrics), training=training)


class Runs(_Part):
    """docs/figures.json, the oldest run first."""

    runs: tuple[Run, ...]

    @classmethod
    def read(cls) -> Self:
        return cls.model_validate_json(QUOTED.read_bytes())

    def of(self, preset: str) -> list[Run]:
        """Return the runs of `preset` on the data of its newest one, which is the last."""
        found = [run for run in self.runs if run.metrics.provenance.preset == preset]
        newest = found[-1].metrics.provenance.data_version
        return [run for run in found if run.metrics.provenance.data_version == newest]


def pages(quoted: Runs) -> dict[Path, str]:
    """Return the pages with their tables as `quoted` and benchmarks/results have them."""
    from docs.measured import Measured

    made = {"results": _results, "runs of quick": _runs_of_quick, "fer2013": _fer2013}

    def block(found: re.Match[str]) -> str:
        name, number = found["name"], found["number"]
        table = made[name](quoted) if name in made else Measured.read(name).markdown(int(number) if number else None)
        return f"{found[1]}\n{table}{found['end']}"

    return {page: BLOCK.sub(block, page.read_text(encoding="utf-8")) for page in PAGES}


def write_pages() -> None:
    """Fill the tables of all pages from the files that hold their figures."""
    for page, text in pages(Runs.read()).items():
        if page.read_text(encoding="utf-8") != text:
            write_text(page, text)


def differences(quoted: Metrics, run: Metrics) -> list[str]:
    """Return in words what a run does not confirm of the quoted one."""

    def fixed(metrics: Metrics) -> dict[str, str]:
        return {
            "data version": metrics.provenance.data_version,
            "split": metrics.provenance.split_hash,
            "faces": f"{metrics.n:,}",
            "chance": f"{metrics.chance.accuracy:.4f}",
        }

    found = fixed(run)
    wrong = [
        f"{name}: {value} is quoted, this run has {found[name]}"
        for name, value in fixed(quoted).items()
        if value != found[name]
    ]
    for name in ("accuracy", "macro_f1"):
        theirs, own = getattr(quoted.candidate, name), getattr(run.candidate, name)
        if None in (theirs.low, own.low) or own.high < theirs.low or own.low > theirs.high:
            wrong.append(f"{name}: {theirs.low} to {theirs.high} is quoted, this run has {own.low} to {own.high}")
    return wrong


def _results(quoted: Runs) -> str:
    rows = [
        "| preset | data, test split | candidate: accuracy, macro-F1 (95 % interval) | baseline | chance | training |",
        "|---|---|---|---|---|---|",
    ]
    for preset in ("quick", "fer2013-cpu"):
        run = quoted.of(preset)[-1]
        found = run.metrics
        kind = "rendered faces" if found.provenance.synthetic else "faces of PublicTest"
        what = f"`{found.provenance.data_version[:10]}`: {found.n:,} {kind}"
        how = "; ".join(f"{name} {_cost(run.training[name])}" for name in ("candidate", "baseline"))
        cells = [
            f"`{preset}`",
            what,
            f"{_percent(found.candidate.accuracy)}, {_score(found.candidate.macro_f1)}",
            f"{_share(found.baseline.accuracy.value)} %",
            f"{_share(found.chance.accuracy)} %",
            f"{how} ({found.cost.cpu})",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _runs_of_quick(quoted: Runs) -> str:
    rows = ["| commit | CPU, threads | validation, FP32 | test, INT8: accuracy | macro-F1 |", "|---|---|---|---|---|"]
    for run in quoted.of("quick"):
        found, threads = run.metrics, run.training["candidate"].threads
        cells = [
            f"`{found.provenance.git_commit[:7]}`",
            f"{found.cost.cpu}, {' and '.join(map(str, threads)) if threads else 'not recorded'}",
            f"{_share(run.training['candidate'].val_accuracy)} %",
            _percent(found.candidate.accuracy),
            _score(found.candidate.macro_f1),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _fer2013(quoted: Runs) -> str:
    run = quoted.of("fer2013-cpu")[-1]
    found, gain = run.metrics, run.metrics.candidate_minus_baseline
    rows = ["| | accuracy | macro-F1 | no face found counts as wrong |", "|---|---|---|---|"]
    for name, model, size in (
        ("candidate", found.candidate, f"INT8, {found.cost.file_mb:.1f} MB"),
        ("baseline", found.baseline, f"{run.training['baseline'].epochs} epochs"),
    ):
        cells = [
            f"{run.training[name].architecture}, {name} ({size})",
            _percent(model.accuracy),
            _score(model.macro_f1),
            _percent(model.accuracy_missed_as_wrong),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    rows.append(
        f"| difference, paired | {_percent(gain.accuracy, unit='points', sign='+')} | "
        f"{_score(gain.macro_f1, sign='+')} | |"
    )
    return "\n".join(rows) + "\n"


def _cost(training: Training) -> str:
    threads = f", {max(training.threads)} thread{'s' if max(training.threads) > 1 else ''}" if training.threads else ""
    return f"{duration(training.seconds)}{threads}, {training.peak_memory_mb['process'] / 1000:.1f} GB"


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _percent(found: Interval, *, unit: str = "%", sign: str = "") -> str:
    return f"{sign}{_share(found.value)} {unit} ({_share(found.low)}-{_share(found.high)})"


def _score(found: Interval, *, sign: str = "") -> str:
    value, low, high = ("n/a" if end is None else f"{end:.3f}" for end in (found.value, found.low, found.high))
    return f"{sign}{value} ({low}-{high})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only; exit status 1 if they do not agree")
    parser.add_argument("--pages", action="store_true", help="fill the pages' tables again; no run is needed")
    parser.add_argument("--project", type=Path, default=Path(), help="where the run is; by default here")
    chosen = parser.parse_args()
    if chosen.pages:
        write_pages()
        return 0
    quoted, run = Runs.read(), Run.of(chosen.project)
    preset = run.metrics.provenance.preset
    if chosen.check:
        wrong = differences(quoted.of(preset)[-1].metrics, run.metrics)
        print(*wrong or [f"The figures that pages quote for {preset} agree with this run"], sep="\n")
        return 1 if wrong else 0
    others = [each for each in quoted.runs if each != run]
    quoted = Runs(runs=(*others, run))
    write_text(QUOTED, quoted.model_dump_json(indent=1) + "\n")
    write_pages()
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # `docs` is no installed package
    sys.exit(main())
