"""Data in words: what an import brought, and what lies in data/ with its terms and citations."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping

from ferops.classes import KNOWN_LABELS
from ferops.datasets.catalogue import SOURCES
from ferops.datasets.manifest import READER_KEY
from ferops.datasets.raw import open_raw, sources
from ferops.datasets.swap import settle
from ferops.errors import FeropsError
from ferops.escape import inline
from ferops.layout import Layout
from ferops.provenance import data_version
from ferops.records.data import ImportResult, SourceEntry

_WIDTH = 100
_REASONS = 20


def list_sources(layout: Layout) -> list[SourceEntry]:
    """Return one entry per source in data/, by name."""
    return [_entry(layout, name) for name in sources(layout)]


def describe_data(layout: Layout) -> str:
    """Return what `ferops data` prints. An interrupted import is undone first.

    Raises:
        FeropsError: there is no data, or it is not versioned.
    """
    settle(layout)
    found = list_sources(layout)
    if not found:
        raise FeropsError(f"no data in {layout.data}. Get it: dvc pull data.dvc, or ferops import SOURCE PATH")
    blocks = [_block(entry) for entry in found]
    rows = sum(entry.rows for entry in found)
    sums = f"{rows:,} images in {len(found)} {'source' if len(found) == 1 else 'sources'}"
    return "\n\n".join([*blocks, f"{sums}, data version {data_version(layout)}"])


def describe_import(result: ImportResult) -> str:
    """Return what `ferops import` prints."""
    files = f" and {result.files - 1} more" if result.files > 1 else ""
    lines = [f"{result.source}: {result.rows:,} images in {result.file}{files}", *_counts(result.classes)]
    for title, reasons in (("left out", result.skipped), ("unusual, but imported as published", result.noticed)):
        if reasons:
            shown = list(reasons.items())[:_REASONS]
            lines += [f"  {title}:", *(f"    {count:,} x {inline(reason)}" for reason, count in shown)]
            if len(reasons) > len(shown):
                rest = sum(reasons.values()) - sum(count for _, count in shown)
                lines.append(f"    {rest:,} x {len(reasons) - len(shown)} other reasons")
    if result.left_out:
        lines.append(f"  each file that was left out: {result.left_out}")
    lines.append(f"  data version {result.data_version}")
    return "\n".join(lines)


def _entry(layout: Layout, name: str) -> SourceEntry:
    raw = open_raw(layout, name)
    table = raw.table(["label", "usage", "subject"])
    labels = Counter(table.column("label").to_pylist())
    usage = Counter(part for part in table.column("usage").to_pylist() if part is not None)
    others = sorted(label for label in labels if label is not None and label not in KNOWN_LABELS)
    known = SOURCES.get((raw.schema.metadata or {}).get(READER_KEY, name.encode()).decode(errors="replace"))

    def suffixes(prefix: str) -> tuple[str, ...]:
        return tuple(column.removeprefix(prefix) for column in raw.schema.names if column.startswith(prefix))

    return SourceEntry(
        source=name,
        rows=table.num_rows,
        classes={label: labels[label] for label in (*KNOWN_LABELS, *others) if labels[label]}
        | ({"unlabelled": labels[None]} if labels[None] else {}),
        usage=dict(sorted(usage.items())),
        people=len(set(table.column("subject").to_pylist()) - {None}),
        groups=suffixes("group_"),
        votes=suffixes("votes_"),
        size_mb=round(sum(path.stat().st_size for path in raw.files) / 2**20, 1),
        files=len(raw.files),
        title=known.title if known else None,
        licence=known.licence if known else None,
        citation=known.citation if known else None,
        tight=known.tight if known else None,
    )


def _block(entry: SourceEntry) -> str:
    files = f" in {entry.files} files" if entry.files > 1 else ""
    lines = [
        f"{inline(entry.source)}: {entry.title or 'not read by ferops; its terms are not known here'}",
        f"  {entry.rows:,} images, {entry.size_mb} MB{files}",
        *_counts(entry.classes),
    ]
    more = {
        "parts": ", ".join(f"{part} {count:,}" for part, count in entry.usage.items()),
        "people": f"{entry.people:,}" if entry.people else "",
        "groups": ", ".join(entry.groups),
        "votes": ", ".join(entry.votes),
        "licence": entry.licence or "",
        "cite": entry.citation or "",
    }
    for title, text in more.items():
        if text:
            lines += textwrap.wrap(f"{title}: {inline(text)}", _WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _counts(classes: Mapping[str, int]) -> list[str]:
    """One aligned line for each label."""
    named = [(inline(label), count) for label, count in classes.items()]
    name_width = max((len(label) for label, _ in named), default=0)
    count_width = max((len(f"{count:,}") for count in classes.values()), default=0)
    return [f"    {label:<{name_width}}  {count:>{count_width},}" for label, count in named]
