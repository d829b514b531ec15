"""`ferops import SOURCE [PATH]`: a published data set -> data/<source>.parquet, versioned by DVC."""

from __future__ import annotations

import difflib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ferops.datasets import affectnet, catalogue, ckplus, fairface, fer2013, jaffe, manifest, rafdb, versioning
from ferops.datasets.raw import files_of
from ferops.errors import FeropsError
from ferops.files import atomic_folder
from ferops.layout import Layout
from ferops.provenance import data_version

Rows = tuple[int | None, Iterator[dict[str, Any]]]

READERS: dict[str, Callable[..., Rows]] = {
    "affectnet": affectnet.read,
    "ckplus": ckplus.read,
    "fairface": fairface.read,
    "fer2013": fer2013.read,
    "jaffe": jaffe.read,
    "rafdb": rafdb.read,
}
"""Sources read from a path: `read(path, *, skipped)` returns the number of pictures, or None, and the rows."""


def import_source(layout: Layout, source: str, path: Path | None, *, seed: int) -> dict[str, Any]:
    """Read the data set `source` from `path` into data/ and version it. Other sources in data/ stay.

    Returns a summary: source, file, rows, classes (label -> rows), skipped (reason -> files), data_version.

    Raises:
        FeropsError: the source is not known, the path holds something else, or DVC fails. data/ and data.dvc are
            then as they were.
    """
    skipped: Counter[str] = Counter()
    _check_request(source, path)
    versioning.check_ready(layout)
    total, rows = _read(source, path, seed=seed, skipped=skipped)
    # Staged outside data/, so that a kill leaves nothing there that the next `dvc add` would version.
    staged = layout.state / "import" / source
    with atomic_folder(staged) as temporary:
        progress = tqdm(rows, total=total, unit=" images", desc=f"import {source}", disable=None)
        counts = manifest.write(temporary / f"{source}.parquet", progress, source=source)
    with _in_place(staged, layout.data, source):
        versioning.add_data(layout)
    classes = {label: counts[label] for label in manifest.LABELS if label in counts}
    return {
        "source": source,
        "file": str(layout.source(source)),
        "rows": sum(counts.values()),
        "classes": classes | ({"unlabelled": counts[""]} if "" in counts else {}),
        "skipped": dict(skipped),
        "data_version": data_version(layout),
    }


def _check_request(source: str, path: Path | None) -> None:
    known = catalogue.SOURCES.get(source)
    if known is None:
        near = difflib.get_close_matches(source.lower(), catalogue.SOURCES, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(catalogue.SOURCES)}"
        raise FeropsError(f"no data set is called {source!r}; {hint}")
    if known.needs_path and path is None:
        raise FeropsError(f"{source} needs the path of your copy: ferops import {source} PATH, {known.release}")
    if not known.needs_path and path is not None:
        raise FeropsError(f"{source} is {known.release} and takes no path, found {path}")


def _read(source: str, path: Path | None, *, seed: int, skipped: Counter[str]) -> Rows:
    if path is not None:
        return READERS[source](path, skipped=skipped)
    from ferops.datasets import synthetic

    return None, iter(synthetic.rows(seed=seed))


@contextmanager
def _in_place(staged: Path, data: Path, source: str) -> Iterator[None]:
    """Move the files of `staged` to `data` in place of the source's old ones; if the block fails, put those back."""
    had_folder = data.is_dir()
    data.mkdir(exist_ok=True)
    old = staged.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    old.mkdir()
    _move(files_of(data, source), old)
    _move(files_of(staged, source), data)
    try:
        yield
    except BaseException:
        for path in files_of(data, source):
            path.unlink()
        _move(files_of(old, source), data)
        if not had_folder:
            data.rmdir()
        raise
    finally:
        shutil.rmtree(old)
        shutil.rmtree(staged)


def _move(files: list[Path], folder: Path) -> None:
    for path in files:
        path.rename(folder / path.name)
