"""data/ under DVC: what an import does to data.dvc.

The repository ships its synthetic default in a DVC remote of its own, inside the repository, and data.dvc names it
(`remote: embedded`) so that a fresh clone can pull without a network. `dvc add` keeps that entry, and `dvc push` obeys
it: without care the next push would copy an imported data set, FER2013 say, into the repository's folder, from where a
commit publishes it. So the entry goes as soon as data/ is anything but a version that the embedded remote holds.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from ferops.datasets import store
from ferops.errors import FeropsError
from ferops.files import atomic_file
from ferops.layout import Layout
from ferops.provenance import data_version, read_dvc_file

if TYPE_CHECKING:
    from dvc.repo import Repo

EMBEDDED_REMOTE = "embedded"


def check_ready(layout: Layout) -> None:
    """Raise FeropsError unless `add_data` can work: a DVC project, with the tracked data in its place."""
    if not (layout.root / ".dvc").is_dir():
        raise FeropsError(
            f"{layout.root.resolve()} is not a DVC project, so the data could not be versioned. "
            "Run the command in the project's folder, or make it one: git init && dvc init"
        )
    if layout.data_dvc.exists() and not layout.data.is_dir():
        raise FeropsError(
            f"{layout.data_dvc} names a data version, but {layout.data} is not there; importing now would drop the "
            f"sources in it. Get them first: dvc pull data.dvc. To start without them: rm {layout.data_dvc}"
        )


def journal(layout: Layout) -> Path:
    """Return the folder that exists while an import changes data/ (`ferops.datasets.swap`), or after one was killed."""
    return layout.state / "import.journal"


def require_current(layout: Layout) -> None:
    """Raise FeropsError unless data/ holds the version that data.dvc names, since every result is labelled with that
    name, or if the next push would copy it into the repository (a plain `dvc add` keeps the entry that says so), or a
    model in place of one that ferops comes with."""
    if journal(layout).exists():
        raise FeropsError(
            f"an import into {layout.data} is running or was interrupted. If it runs, wait for it to end; if it was "
            "interrupted, `ferops data` puts everything back as it was before"
        )
    named, found = data_version(layout), folder_md5(layout.data)
    if named != found:
        raise FeropsError(
            f"{layout.data} holds version {found[:10]}, but {layout.data_dvc} names {named[:10]}. To get the named "
            f"one: dvc pull {layout.data_dvc.name}. To keep what is there as a new version: dvc add {layout.data.name}"
        )
    for dvc_file in (layout.data_dvc, *layout.shipped_dvc):
        require_own_remote(layout, dvc_file)


def require_own_remote(layout: Layout, dvc_file: Path) -> None:
    """Raise FeropsError if the next `dvc push` would copy what `dvc_file` names into the repository: data or a model
    that ferops does not come with."""
    out = read_dvc_file(dvc_file)
    if _strays_into_embedded(layout, out):
        raise FeropsError(
            f"{dvc_file} sends version {out['md5'][:10]} to the remote `{EMBEDDED_REMOTE}`, a folder of this "
            f"repository for what ferops comes with alone: the next dvc push would copy your {out['path']} there, and "
            f"a commit would publish it. Delete the line `remote: {EMBEDDED_REMOTE}` from {dvc_file.name}"
        )


def folder_md5(folder: Path) -> str:
    """Return the name that DVC 3 gives to the content of `folder`: the MD5 of the JSON list of its files' MD5s."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    entries = []
    for name in files:
        with (folder / name).open("rb") as file:
            entries.append({"md5": hashlib.file_digest(file, "md5").hexdigest(), "relpath": name})
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def add_data(layout: Layout, repo: Repo) -> None:
    """Version data/ as it is (`dvc add data`), and make sure that a push goes to the user's own remote.

    `repo` holds DVC's locks (`store.locked`).

    Raises:
        FeropsError: DVC failed, or could not store everything; data.dvc is then as before.
    """
    before = layout.data_dvc.read_bytes() if layout.data_dvc.exists() else None
    try:
        store.add(repo, layout.data)
        _drop_embedded_remote(layout)
    except BaseException:
        restore(layout.data_dvc, before)
        raise


def restore(file: Path, content: bytes | None) -> None:
    """Give `file` its former `content`; None: there was no such file."""
    if content is None:
        file.unlink(missing_ok=True)
    elif not file.exists() or file.read_bytes() != content:
        with atomic_file(file) as temporary:
            temporary.write_bytes(content)


def _drop_embedded_remote(layout: Layout) -> None:
    yaml = YAML()  # round trip: the user's own fields and comments stay
    tree = yaml.load(layout.data_dvc.read_text(encoding="utf-8"))
    out = tree["outs"][0]
    if not _strays_into_embedded(layout, out):
        return
    del out["remote"]
    with atomic_file(layout.data_dvc) as temporary, temporary.open("w", encoding="utf-8") as file:
        yaml.dump(tree, file)


def _strays_into_embedded(layout: Layout, out: Any) -> bool:
    """Whether a push would send `out` of a .dvc file to the embedded remote, which does not hold it."""
    return out.get("remote") == EMBEDDED_REMOTE and not _embedded_holds(layout, out["md5"])


def _embedded_holds(layout: Layout, md5: str) -> bool:
    """Whether the embedded remote holds this version of a folder (`md5` with its `.dir` suffix) already."""
    from dvc.config import RemoteNotFoundError
    from dvc.repo import Repo

    with Repo(str(layout.root)) as repo:
        try:
            return bool(repo.cloud.get_remote_odb(name=EMBEDDED_REMOTE).exists(md5))
        except RemoteNotFoundError:
            return False
