"""A comparison of runs as a table for the terminal: one column a run."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ferops.formats import duration, figure, interval, percent
from ferops.records.compare import Comparison, RunFacts
from ferops.registry.lookup import SHORT_ID

if TYPE_CHECKING:
    from rich.table import Table

Cell = Callable[[RunFacts], str | None]


def table(comparison: Comparison, *, width: int) -> str:
    """Return the comparison as text of at most `width` columns; long cells wrap."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, width=None)
    grid.add_column("", overflow="fold")
    for run in comparison.runs:
        grid.add_column(f"{run.name}\n{run.run_id[:SHORT_ID]}", overflow="fold")
    for label, cell in _ORIGIN.items():
        _add(grid, label, [cell(run) for run in comparison.runs])
    grid.add_section()
    for name, values in comparison.settings.items():
        _add(grid, name, values)
    grid.add_section()
    for label, cell in _FIGURES.items():
        _add(grid, label, [cell(run) for run in comparison.runs])
    text = io.StringIO()
    Console(file=text, width=width, highlight=False, markup=False, emoji=False).print(grid)
    lines = [line.rstrip() for line in text.getvalue().rstrip().splitlines()]
    return "\n".join([*lines, "", *_verdict(comparison)])


def _verdict(comparison: Comparison) -> list[str]:
    settings = [] if comparison.settings else ["No setting differs."]
    if comparison.comparable:
        return [*settings, "The figures can be compared: the same data version and the same split."]
    return [*settings, *(f"The figures CANNOT be compared: {reason}." for reason in comparison.reasons)]


def _add(grid: Table, label: str, cells: Sequence[str | None]) -> None:
    if any(cell is not None for cell in cells):  # a row that no run has would only take room
        grid.add_row(label, *("-" if cell is None else cell for cell in cells))


def _short(identifier: str | None, length: int) -> str | None:
    if identifier is None:
        return None
    digest, dash, state = identifier.partition("-")  # `-dirty` must stay in sight
    return digest[:length] + dash + state


def _parameters(run: RunFacts) -> str | None:
    count = run.parameters
    return None if count is None else f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count:,}"


def _rate(run: RunFacts) -> str | None:
    rate = run.images_per_s
    return None if rate is None else f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


_ORIGIN: dict[str, Cell] = {
    "version": lambda run: run.version and " ".join(run.version),
    "started (UTC)": lambda run: run.started[:16].replace("T", " "),
    "ended": lambda run: run.status.lower(),
    "data version": lambda run: _short(run.data_version, 10),
    "split": lambda run: _short(run.split_hash, 10),
    "commit": lambda run: _short(run.git_commit, SHORT_ID),
}
_FIGURES: dict[str, Cell] = {
    "best epoch": lambda run: None if run.best_epoch is None else f"{run.best_epoch} of {run.epochs}",
    "validation accuracy": lambda run: None if run.val_accuracy is None else percent(run.val_accuracy, 2),
    "validation macro-F1": lambda run: None if run.val_macro_f1 is None else f"{run.val_macro_f1:.4f}",
    "test accuracy, %": lambda run: None if run.test is None else interval(run.test.accuracy, digits=2),
    "test macro-F1": lambda run: None if run.test is None else figure(run.test.macro_f1, 4),
    "test-time augmentation": lambda run: None if run.test is None or run.test.tta == "off" else run.test.tta,
    "parameters": _parameters,
    "images/s": _rate,
    "training time": lambda run: None if run.train_seconds is None else duration(run.train_seconds),
    "peak memory": lambda run: None if run.peak_memory_mb is None else f"{run.peak_memory_mb:,.0f} MB",
    "device": lambda run: run.device,
}
