"""Figures as text, written the same way in reports, tables and terminals."""

from __future__ import annotations

from ferops.records.interval import Interval

NO_VALUE = "n/a"
NO_BREAK = "\u00a0"  # no line break between a figure and its unit


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """Return "−0.050" for -0.05: with a minus sign, not a hyphen, and never "−0.000"."""
    sign = "+" if signed else ""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def rounded(value: float, *, signed: bool = False) -> str:
    """Return "302" for 302.0, a count, and "0.210" for 0.21, any other figure."""
    return number(value, 0 if float(value).is_integer() and abs(value) > 1 else 3, signed=signed)


def percent(share: float | None, digits: int = 1) -> str:
    """Return "61.3 %" for 0.613."""
    return NO_VALUE if share is None else f"{100 * share:.{digits}f}{NO_BREAK}%"


def points(difference: float | None, digits: int = 1) -> str:
    """Return "+1.4" for 0.014: a difference of shares in percentage points, with its sign."""
    return NO_VALUE if difference is None else number(100 * difference, digits, signed=True)


def interval(found: Interval, *, signed: bool = False, digits: int = 1) -> str:
    """Return "61.3 (58.0 to 64.1)": a share in percent or, signed, a difference in percentage points."""
    show = points if signed else _hundredfold
    return _with_ends(found, [show(end, digits) for end in (found.value, found.low, found.high)])


def figure(found: Interval, digits: int = 3) -> str:
    """Return "0.613 (0.580 to 0.641)" for a figure that is not a share."""
    ends = (found.value, found.low, found.high)
    return _with_ends(found, [NO_VALUE if end is None else number(end, digits) for end in ends])


def megabytes(size: int) -> str:
    """Return "4.9 MB" for a size in bytes; 1 MB is 10^6 bytes."""
    return f"{size / 1e6:.1f}{NO_BREAK}MB"


def _with_ends(found: Interval, texts: list[str]) -> str:
    value, low, high = texts
    if found.value is None:
        return f"{NO_VALUE}: {found.reason}"
    return f"{value} (no interval)" if found.low is None else f"{value} ({low} to {high})"


def _hundredfold(share: float | None, digits: int) -> str:
    return NO_VALUE if share is None else number(100 * share, digits)


def duration(seconds: float) -> str:
    """Return "1 h 02 min", "2 min 50 s" or "7 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
