"""A diff of two cards as text for the terminal: what is different first, then how the figures moved."""

from __future__ import annotations

import io
from collections.abc import Sequence

from ferops.formats import figure, interval, points
from ferops.records.card import CardDiff, FigureChange, GateChange


def text(diff: CardDiff, *, width: int) -> str:
    """Return the diff as text of at most `width` columns; long cells wrap."""
    heads = ("", diff.before, diff.after)
    settings = [(name, *(value or "-" for value in row)) for name, row in diff.settings.items()]
    parts = [
        _table("What was judged", heads, [(name, *values) for name, values in diff.facts.items()], width),
        _table("Settings", heads, settings, width),
        _table("Figures", (*heads, "change", ""), [_figure(each) for each in diff.figures], width),
        _table("Gates", heads, [_gate(each) for each in diff.gates], width),
    ]
    note = (
        "Verdicts ask whether the two intervals overlap. A paired comparison sees smaller differences: ferops compare "
        "A B --data FILE"
    )
    if not diff.comparable:
        note = "\n".join(f"The figures CANNOT be compared: {reason}." for reason in diff.reasons)
    return "\n\n".join([*filter(None, parts), note])


def _figure(each: FigureChange) -> tuple[str, ...]:
    show = interval if each.kind == "share" else figure
    name = f"{each.name}, %" if each.kind == "share" else each.name
    change = ""
    if each.change is not None:
        change = points(each.change) if each.kind == "share" else f"{each.change:+.3f}".replace("-", "−")
    short = [show(found).removesuffix(" (no interval)") for found in (each.before, each.after)]
    return (name, *short, change, "" if each.verdict == "unclear" else each.verdict)


def _gate(each: GateChange) -> tuple[str, ...]:
    sides = (each.before, each.after)
    return (each.name, *("-" if gate is None else f"{gate.verdict}: {gate.reason}" for gate in sides))


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not rows:
        return ""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in (title, *heads[1:]):
        grid.add_column(head, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(grid)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())
