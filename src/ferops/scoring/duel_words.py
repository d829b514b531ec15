"""Two models on the same images, as text for a terminal and as an HTML page."""

from __future__ import annotations

from ferops import formats, pages
from ferops.escape import inline
from ferops.records.duel import Duel, DuelSlice


def text(duel: Duel) -> str:
    """Return the comparison as lines; shares are percentages, differences percentage points."""
    first, second = duel.models
    heads = ("%", "n", "first", "second", "first - second", "fixed", "broken")
    rows = [heads, *(_cells(each) for each in (duel.whole, *duel.slices))]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    one, other = duel.macro_f1
    return "\n".join(
        [
            duel.verdict,
            f"first   {inline(first.file)}, SHA-256 {first.sha256[:16]}...",
            f"second  {inline(second.file)}, SHA-256 {second.sha256[:16]}...",
            f"data    {inline(duel.file)}, on {', '.join(duel.classes)}; rows left out: {duel.left_out}",
            "",
            *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows),
            "",
            f"macro-F1: {formats.interval(one)} and {formats.interval(other)}, "
            f"difference {formats.interval(duel.macro_f1_difference, signed=True)}",
            f"no face found: {duel.no_face[0]} and {duel.no_face[1]} images, counted as wrong",
            *(f"note: {inline(note)}" for note in (*duel.notes, *_warnings(duel))),
        ]
    )


def html(duel: Duel) -> str:
    """Return the comparison as a page that needs no other file."""
    return pages.render(
        "ferops.scoring",
        "duel.html.j2",
        duel=duel,
        rows=[(each, _cells(each), _tone(each)) for each in (duel.whole, *duel.slices)],
        macro_f1=[formats.interval(each) for each in duel.macro_f1],
        macro_f1_difference=formats.interval(duel.macro_f1_difference, signed=True),
        notes=[*duel.notes, *_warnings(duel)],
    )


def _cells(one: DuelSlice) -> tuple[str, ...]:
    name = f"{one.column.removeprefix('group_')} {one.value}" if one.column else "all images"
    return (
        inline(name) + (" (too few)" if one.small else ""),
        str(one.n),
        formats.interval(one.first),
        formats.interval(one.second),
        formats.interval(one.difference, signed=True),
        str(one.fixed),
        str(one.broken),
    )


def _tone(one: DuelSlice) -> str:
    """`good` or `bad` where the interval of the difference does not hold 0, else nothing."""
    low, high = one.difference.low, one.difference.high
    if one.small or low is None or high is None:
        return "soft"
    return "good" if low > 0 else "bad" if high < 0 else ""


def _warnings(duel: Duel) -> list[str]:
    if not duel.slices:
        return []
    return [
        f"with {len(duel.slices)} slices some differ by chance alone: {formats.percent(duel.level, 0)} intervals miss "
        f"in about 1 of {round(1 / (1 - duel.level))} cases"
    ]
