"""Published data sets in miniature: the same files as a folder, a zip or a tar."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

KINDS = ("folder", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz")


def make_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write `files` (path -> content) below `root`."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def make_zip(path: Path, files: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Pack `files` into a zip at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """Pack `files` into a tar at `path`, compressed as its ending says."""
    ending = path.suffix.removeprefix(".")
    with tarfile.open(path, "w" if ending == "tar" else f"w:{ending}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def make_release(folder: Path, kind: str, files: Mapping[str, bytes]) -> Path:
    """Make `files` as one of KINDS below `folder`; return its path."""
    if kind == "folder":
        return make_folder(folder / "release", files)
    path = folder / f"release.{kind}"
    return make_zip(path, files) if kind == "zip" else make_tar(path, files)
