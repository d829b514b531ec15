"""Read a version of data/ without touching data/: a Git revision of data.dvc, through DVC, or what is there now."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow.parquet as pq

from ferops.datasets.raw import files_of, sources
from ferops.datasets.versioning import folder_md5
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.provenance import dvc_output
from ferops.tables import Kind, readable, require_columns, require_values

_KINDS: dict[str, Kind] = {
    "image_id": "text",
    "label": "text or null",
    "usage": "text or null",
    "width": "whole",
    "height": "whole",
}
ROW_COLUMNS = tuple(_KINDS)


@dataclass(frozen=True)
class Version:
    """One version: `name` as the user calls it, DVC's `data_version` (32 hex digits), the files of each source."""

    name: str
    data_version: str
    files: dict[str, list[str]]
    open_file: Callable[[str], BinaryIO]

    @property
    def _remedy(self) -> str:
        return f"It is of {self.name}; compare with another revision, or import the source again"

    def rows(self) -> pd.DataFrame:
        """Return source, image_id, label, usage, width and height of every row; no image is read."""
        frames = [pd.DataFrame(columns=["source", *ROW_COLUMNS])]
        for source, files in self.files.items():
            for path in files:
                with self.open_file(path) as handle, readable(Path(path), self._remedy):
                    file = pq.ParquetFile(handle)
                    require_columns(file.schema_arrow, Path(path), _KINDS, remedy=self._remedy)
                    table = file.read(columns=list(ROW_COLUMNS))
                    table.validate(full=True)
                    for name, kind in _KINDS.items():
                        require_values(table.column(name), kind, name, Path(path), remedy=self._remedy)
                    frames.append(table.to_pandas().assign(source=source))
        return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)

    def images(self, wanted: dict[str, set[str]]) -> Iterator[list[tuple[str, str, bytes]]]:
        """Yield (source, image_id, encoded image) of the wanted image_ids per source, each once, a row group at a time.

        Row groups without a wanted image are not read.
        """
        for source in wanted.keys() & self.files.keys():
            left = set(wanted[source])
            for path in self.files[source]:
                with self.open_file(path) as handle, readable(Path(path), self._remedy):
                    file = pq.ParquetFile(handle)
                    for group in range(file.num_row_groups):
                        ids = file.read_row_group(group, columns=["image_id"]).column("image_id").to_pylist()
                        places = {image_id: place for place, image_id in enumerate(ids) if image_id in left}
                        if places:
                            left -= places.keys()
                            images = file.read_row_group(group, columns=["image"]).column("image")
                            yield [(source, name, images[place].as_py() or b"") for name, place in places.items()]


def current(layout: Layout) -> Version:
    """Return what is in data/ now.

    Raises:
        FeropsError: there is nothing.
    """
    found = sources(layout) if layout.data.is_dir() else []
    if not found:
        raise FeropsError(
            f"no data in {layout.data}. Get it: dvc pull data.dvc, or compare two revisions: ferops drift A B"
        )
    files = {source: [str(path) for path in files_of(layout.data, source)] for source in found}
    return Version(
        name="data/ as it is now",
        data_version=folder_md5(layout.data),
        files=files,
        open_file=lambda path: Path(path).open("rb"),
    )


def at_revision(layout: Layout, revision: str) -> Version:
    """Return the version of data/ that data.dvc named at a Git revision (a commit, tag or branch).

    Files come from DVC's cache, or else from a remote of the project, read where they are.

    Raises:
        FeropsError: no DVC project, no such revision, no data.dvc in it, or its files are in no cache and no remote.
    """
    named = dvc_output(_data_dvc_at(layout, revision), origin=f"{layout.data_dvc.name} of {revision}")["md5"]
    stores = _stores(layout)
    with _open_object(stores, str(named), of=f"the list of files of data version {named[:10]}, {revision}") as file:
        listed = json.load(file)
    md5_of = {entry["relpath"]: entry["md5"] for entry in listed if entry["relpath"].endswith(".parquet")}
    if not md5_of:
        raise FeropsError(f"data version {named[:10]} ({revision}) holds no Parquet file: nothing to compare")
    return Version(
        name=revision,
        data_version=str(named).removesuffix(".dir"),
        files=_by_source(sorted(md5_of)),
        open_file=lambda path: _open_object(
            stores, md5_of[path], of=f"{path} of data version {named[:10]}, {revision}"
        ),
    )


def _data_dvc_at(layout: Layout, revision: str) -> str:
    git = ["git", "-C", str(layout.root)]
    known = subprocess.run(
        [*git, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if known.returncode:
        raise FeropsError(
            f"Git knows no revision {revision!r}. Revisions in which the data changed: "
            f"git log --oneline -- {layout.data_dvc.name}"
        )
    shown = subprocess.run(
        [*git, "show", f"{known.stdout.strip()}:./{layout.data_dvc.name}"], capture_output=True, text=True, check=False
    )
    if shown.returncode:
        raise FeropsError(f"revision {revision} has no {layout.data_dvc.name}: its data was not versioned")
    return shown.stdout


def _stores(layout: Layout) -> list[Any]:
    """Return DVC's object stores: the cache, then the remotes, the default one first.

    DVC's own file system for a revision (dvc.api.DVCFileSystem) finds no remote whose address is a relative path, such
    as the embedded one, so the objects are looked up by their MD5.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        repo = Repo(str(layout.root))
    except NotDvcRepoError as error:
        raise FeropsError(
            f"{layout.root.resolve()} is not a DVC project. Run the command in the project's folder"
        ) from error
    with repo:
        first = repo.config["core"].get("remote")
        names = sorted(repo.config["remote"], key=lambda name: name != first)
        stores = [repo.cache.local]
        for name in names:
            with suppress(DvcException):  # a remote that cannot be set up here (its plugin is missing) has nothing
                stores.append(repo.cloud.get_remote_odb(name=name))
        return stores


def _open_object(stores: list[Any], md5: str, *, of: str) -> BinaryIO:
    from dvc.exceptions import DvcException

    problems = []
    for store in stores:
        try:
            if store.exists(md5):
                handle: BinaryIO = store.fs.open(store.oid_to_path(md5), "rb")
                return handle
        except (OSError, DvcException) as error:
            problems.append(f"{store.path}: {error}")
    raise FeropsError(
        f"{of}, is in neither DVC's cache nor a remote of this project. Add the remote that has it "
        "(dvc remote add), or push it from where that version is in data/ (dvc push data.dvc)"
        + "".join(f"\n  {problem}" for problem in problems)
    )


def _by_source(names: list[str]) -> dict[str, list[str]]:
    """Group sorted paths as `raw.files_of` does: <source>.parquet, then its shards <source>-001.parquet, ..."""
    stems = {Path(name).stem: name for name in names}
    grouped: dict[str, list[str]] = {}
    for stem in sorted(stems, key=lambda stem: (len(stem), stem)):
        base = re.sub(r"-\d{3}$", "", stem)
        grouped.setdefault(base if base in stems else stem, []).append(stems[stem])
    return grouped
