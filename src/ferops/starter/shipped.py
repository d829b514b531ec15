"""What the installed package brings: the files of a project, the starter among them."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import ferops
from ferops.errors import FeropsError
from ferops.files import read_bytes
from ferops.provenance import read_dvc_file

_INSTALLED = Path(ferops.__file__).parent / "project"
_CHECKOUT = Path(ferops.__file__).parents[2]


def origin() -> Path:
    """Return the folder with the files of a project: in the package, or the repository that it is a part of.

    Raises:
        FeropsError: the installation is incomplete.
    """
    for folder in (_INSTALLED, _CHECKOUT):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise FeropsError(f"{_INSTALLED} does not exist: this ferops is incomplete. Install it again")


def project_files() -> dict[str, Path]:
    """Return name in a project -> file that ferops brings, in order. Errors as for `origin`."""
    root = origin()
    if root == _INSTALLED:
        files = [path for path in root.rglob("*") if path.is_file()]
    else:
        listed = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ferops"]["project"]
        found = [path for name in listed for path in (root / name, *(root / name).rglob("*"))]
        files = [path for path in found if path.is_file()]
    return {path.relative_to(root).as_posix(): path for path in sorted(files) if path.suffix != ".pyc"}


def objects(dvc_file: str) -> list[str]:
    """Return the files of the remote `embedded` that hold what `dvc_file` (starter.dvc, data.dvc) names."""
    digest = str(read_dvc_file(origin() / dvc_file)["md5"])
    return [_object(digest), *(_object(entry["md5"]) for entry in _entries(digest))]


def unpack_starter(folder: Path) -> str:
    """Write the files of the starter that ferops brings into `folder`, which exists; return its version, 32 digits."""
    digest = str(read_dvc_file(origin() / "starter.dvc")["md5"])
    for entry in _entries(digest):
        shutil.copyfile(origin() / _object(entry["md5"]), folder / entry["relpath"])
    return digest.removesuffix(".dir")


def _entries(digest: str) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = json.loads(read_bytes(origin() / _object(digest), made_by="pip install ferops"))
    return entries


def _object(digest: str) -> str:
    return f".dvc/embedded/files/md5/{digest[:2]}/{digest[2:]}"
