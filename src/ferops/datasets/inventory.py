"""What `ferops data` lists: the sources in data/ with their counts, terms and citations."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ferops.config import CLASSES, OTHER_LABELS
from ferops.datasets.catalogue import SOURCES
from ferops.datasets.raw import open_raw, sources
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.provenance import data_version


def entries(layout: Layout) -> list[dict[str, Any]]:
    """Return one dict per source in data/, by name: source, rows, classes (label -> rows), usage (part -> rows),
    size_mb, title, licence, citation, tight. The last four are None for a file that no reader of ferops wrote."""
    return [_describe_source(layout, name) for name in sources(layout)]


def describe(layout: Layout) -> str:
    """Return what `ferops data` prints.

    Raises:
        FeropsError: there is no data, or it is not versioned.
    """
    found = entries(layout)
    if not found:
        raise FeropsError(f"no data in {layout.data}. Get it: dvc pull data.dvc, or ferops import SOURCE PATH")
    blocks = [_block(entry) for entry in found]
    return "\n\n".join([*blocks, f"data version {data_version(layout)}"])


def _describe_source(layout: Layout, name: str) -> dict[str, Any]:
    raw = open_raw(layout, name)
    table = raw.table(["label", "usage"])
    labels = Counter(table.column("label").to_pylist())
    order = [*CLASSES, *OTHER_LABELS]
    odd = sorted(label for label in labels if label is not None and label not in order)
    known = SOURCES.get(name)
    return {
        "source": name,
        "rows": table.num_rows,
        "classes": {label: labels[label] for label in [*order, *odd] if labels[label]}
        | ({"unlabelled": labels[None]} if labels[None] else {}),
        "usage": {
            str(part): count for part, count in sorted(Counter(table.column("usage").to_pylist()).items(), key=str)
        },
        "size_mb": round(sum(path.stat().st_size for path in raw.files) / 2**20, 1),
        "title": known.title if known else None,
        "licence": known.licence if known else None,
        "citation": known.citation if known else None,
        "tight": known.tight if known else None,
    }


def _block(entry: dict[str, Any]) -> str:
    lines = [f"{entry['source']}: {entry['title'] or 'not read by ferops; its terms are not known here'}"]
    lines.append(f"  {entry['rows']} images, {entry['size_mb']} MB")
    lines.append("  " + ", ".join(f"{label} {count}" for label, count in entry["classes"].items()))
    if entry["licence"]:
        lines += [f"  licence: {entry['licence']}", f"  cite: {entry['citation']}"]
    return "\n".join(lines)
