"""A comparison of runs as a table for the terminal: one column a run."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from ferops.registry.lookup import SHORT_ID


def table(comparison: dict[str, Any], *, width: int) -> str:
    """Return what `ferops.registry.compare.compare` found as text of at most `width` columns; long cells wrap."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    runs = comparison["runs"]
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, width=None)
    grid.add_column("", overflow="fold")
    for run in runs:
        grid.add_column(f"{run['name']}\n{run['run_id'][:SHORT_ID]}", overflow="fold")
    for label, cell in _ORIGIN.items():
        _add(grid, label, [cell(run) for run in runs])
    grid.add_section()
    for name, values in comparison["settings"].items():
        _add(grid, name, values)
    grid.add_section()
    for label, cell in _FIGURES.items():
        _add(grid, label, [cell(run) for run in runs])
    text = io.StringIO()
    Console(file=text, width=width, highlight=False, markup=False, emoji=False).print(grid)
    lines = [line.rstrip() for line in text.getvalue().rstrip().splitlines()]
    return "\n".join([*lines, "", *_verdict(comparison)])


def _verdict(comparison: dict[str, Any]) -> list[str]:
    settings = [] if comparison["settings"] else ["No setting differs."]
    if comparison["comparable"]:
        return [*settings, "The figures can be compared: the same data version and the same split."]
    return [*settings, *(f"The figures CANNOT be compared: {reason}." for reason in comparison["reasons"])]


def _add(grid: Any, label: str, cells: list[str | None]) -> None:
    if any(cell is not None for cell in cells):  # a row that no run has would only take room
        grid.add_row(label, *("-" if cell is None else cell for cell in cells))


def _of(key: str, form: Callable[[Any], str] = str) -> Callable[[dict[str, Any]], str | None]:
    return lambda run: None if run[key] is None else form(run[key])


def _score(name: str, *, percent: bool) -> Callable[[dict[str, Any]], str | None]:
    def cell(run: dict[str, Any]) -> str | None:
        if run["test"] is None:
            return None
        score = run["test"][name]
        value, low, high = (
            None if score[key] is None else _share(score[key], percent) for key in ("value", "low", "high")
        )
        return (
            value if low is None or high is None else f"{value} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"
        )

    return cell


def _share(value: float, percent: bool) -> str:
    return f"{100 * value:.2f} %" if percent else f"{value:.4f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _commit(text: str) -> str:
    digest, dash, state = text.partition("-")  # `-dirty` must stay in sight
    return digest[:SHORT_ID] + dash + state


_ORIGIN: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "version": _of("version", " ".join),
    "started (UTC)": _of("started", lambda text: str(text)[:16].replace("T", " ")),
    "ended": lambda run: run["status"].lower(),
    "data version": _of("data_version", lambda text: str(text)[:10]),
    "split": _of("split_hash", lambda text: str(text)[:10]),
    "commit": _of("git_commit", _commit),
}
_FIGURES: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "best epoch": lambda run: None if run["best_epoch"] is None else f"{run['best_epoch']} of {run['epochs']}",
    "validation accuracy": _of("val_accuracy", lambda value: _share(value, percent=True)),
    "validation macro-F1": _of("val_macro_f1", lambda value: _share(value, percent=False)),
    "test accuracy": _score("accuracy", percent=True),
    "test macro-F1": _score("macro_f1", percent=False),
    "parameters": _of("parameters", lambda count: f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count:,}"),
    "images/s": _of("images_per_s", lambda rate: f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"),
    "training time": _of("train_seconds", _duration),
    "peak memory": _of("peak_memory_mb", lambda megabytes: f"{megabytes:,.0f} MB"),
    "device": _of("device"),
}
