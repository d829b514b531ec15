"""Figures as text, the same way in the report, the model card and the plots."""

from __future__ import annotations

from typing import Any

from ferops.evaluation.bootstrap import Interval

COLUMN_WORDS = {
    "source": ("Source", "the data set the image comes from"),
    "brightness": ("Brightness", "mean grey level of the image, 0-255, in thirds"),
    "sharpness": ("Sharpness", "variance of the Laplacian at 48 px, in thirds"),
    "face_px": ("Face size", "mean side of the face in pixels of the source image, in thirds"),
    "yaw_degrees": ("Head turn", "absolute yaw in degrees, estimated from landmarks, in thirds"),
}
"""Slice columns for people: name and meaning. A `group_` column is named after its attribute."""

NONE = "n/a"


def percent(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{100 * value:.{digits}f}\u00a0%"


def points(value: float | None, digits: int = 1) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return NONE if value is None else f"{100 * value:+.{digits}f}".replace("-", "−")


def with_interval(interval: Interval, *, signed: bool = False, digits: int = 1) -> str:
    """Return "61.3 (58.0 to 64.1)", in percent or, signed, in percentage points."""
    show = points if signed else _hundredfold
    if interval["value"] is None:
        return f"{NONE}: {interval['reason']}"
    value = show(interval["value"], digits)
    if interval["low"] is None:
        return f"{value} (no interval)"
    return f"{value} ({show(interval['low'], digits)} to {show(interval['high'], digits)})"


def figure(interval: Interval, digits: int = 3) -> str:
    """Return "0.613 (0.580 to 0.641)" for figures that are no shares."""
    if interval["value"] is None:
        return f"{NONE}: {interval['reason']}"
    if interval["low"] is None:
        return f"{interval['value']:.{digits}f} (no interval)"
    return f"{interval['value']:.{digits}f} ({interval['low']:.{digits}f} to {interval['high']:.{digits}f})"


def split_words(column: str) -> tuple[str, str]:
    """Return name and meaning of a slice column."""
    attribute = column.removeprefix("group_").replace("_", " ")
    return COLUMN_WORDS.get(column, (attribute.capitalize(), "as the data set annotates it"))


def slice_words(one: dict[str, Any]) -> str:
    """Return "Head turn: below 8" for an entry of metrics["slices"]."""
    return f"{split_words(one['column'])[0]}: {one['value']}"


def _hundredfold(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{100 * value:.{digits}f}"
