"""A stage's summary.json for people who look at it in a browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ferops import escape
from ferops.files import read_json

TABLE_ROWS = 40


def markdown(path: Path) -> str:
    """Return a stage's summary.json as Markdown: a line of provenance, then its numbers as tables.

    Raises:
        FeropsError: the file is missing.
    """
    summary = read_json(path, made_by="dvc repro")
    provenance = summary.pop("provenance", {})
    folder = path.parent
    title = str(summary.pop("stage", folder.name))
    if folder.parent.name == title:  # reports/train/<model>
        title += f" {folder.name}"
    blocks = [f"## {escape.markdown(title)}", _provenance_line(provenance)]
    blocks.append(_table({key: value for key, value in summary.items() if not _is_section(value)}))
    for key, value in summary.items():
        if _is_section(value):
            rows = _records(value) if isinstance(value, list) else _table(dict(_flat(value)))
            blocks += [f"### {escape.markdown(_words(key))}", rows]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _provenance_line(provenance: dict[str, Any]) -> str:
    keys = ("data_version", "split_hash", "git_commit", "preset", "seed")
    known = [
        f"{_words(key)} `{escape.code(short(str(provenance[key])))}`" for key in keys if provenance.get(key) is not None
    ]
    line = ", ".join(known)
    if provenance.get("synthetic"):
        line += ". Synthetic faces: these numbers say nothing about real ones."
    return line


def short(identifier: str) -> str:
    """Return the first 12 digits of a version or a commit."""
    digest, dash, state = identifier.partition("-")  # a commit may end in -dirty, which must stay in sight
    return digest[:12] + dash + state


def _is_section(value: Any) -> bool:
    """Whether a value gets a heading and a table: a list of mappings, or a mapping that is not an interval."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, dict) for item in value)
    return isinstance(value, dict) and bool(value) and not _is_interval(value)


def _is_interval(value: dict[str, Any]) -> bool:
    return {"value", "low", "high"} <= value.keys() <= {"value", "low", "high", "reason"}


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{prefix} / {key}" if prefix else str(key)
        if isinstance(value, dict) and not _is_interval(value):
            yield from _flat(value, name)
        else:
            yield name, value


def _records(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = [_row(escape.markdown(_words(column)) for column in columns), _row("---" for _ in columns)]
    table += [_row(escape.markdown(shown(row.get(column))) for column in columns) for row in rows[:TABLE_ROWS]]
    more = f"\n\n{len(rows) - TABLE_ROWS} more in summary.json" if len(rows) > TABLE_ROWS else ""
    return "\n".join(table) + more


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(values: dict[str, Any]) -> str:
    if not values:
        return ""
    rows = [f"| {escape.markdown(_words(key))} | {escape.markdown(shown(value))} |" for key, value in values.items()]
    more = [f"| ... | {len(rows) - TABLE_ROWS} more in summary.json |"] if len(rows) > TABLE_ROWS else []
    return "\n".join(["| measure | value |", "|---|---|", *rows[:TABLE_ROWS], *more])


def shown(value: Any) -> str:
    """Return a JSON value as short text."""
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value:
        return ", ".join(shown(item) for item in value) if len(value) <= 8 else f"{len(value)} entries"
    if isinstance(value, dict) and value:
        if _is_interval(value):
            ends = f"{shown(value['low'])} to {shown(value['high'])}"
            return f"{shown(value['value'])} ({value.get('reason') or ends})"
        return ", ".join(f"{escape.inline(key)}: {shown(item)}" for key, item in value.items())
    return "none" if value in ([], {}) else escape.inline(str(value))


def _words(key: str) -> str:
    return key.replace("_", " ")
