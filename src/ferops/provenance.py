"""What a result is made from, as the project stands now."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

from ferops import __version__
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.files import parse_yaml, read_bytes
from ferops.layout import Layout
from ferops.records import Provenance


def provenance(layout: Layout, params: Params) -> Provenance:
    """Return what a stage that runs now makes its results from."""
    return Provenance(
        data_version=data_version(layout),
        split_hash=split_hash(layout),
        git_commit=git_commit(layout.root),
        seed=params.seed,
        preset=params.preset,
        sources=params.data.sources,
        synthetic=all(source == "synthetic" for source in params.data.sources),
        ferops_version=__version__,
        params=params.model_dump(mode="json", by_alias=True),
    )


def data_version(layout: Layout) -> str:
    """Return DVC's MD5 of the folder data/ (as in data.dvc), 32 hex digits without the `.dir` suffix."""
    if not layout.data_dvc.exists():
        raise FeropsError(
            f"{layout.data_dvc} does not exist: the data is not versioned. "
            "Import a data set (`ferops import --help`) or track what is there: dvc add data"
        )
    return str(read_dvc_file(layout.data_dvc)["md5"]).removesuffix(".dir")


def read_dvc_file(path: Path) -> dict[str, Any]:
    """Return the one output that a .dvc file names. Raises FeropsError: it is missing, or no such file."""
    return dvc_output(read_bytes(path, made_by=f"dvc add {path.stem}"), origin=str(path))


def dvc_output(content: str | bytes, *, origin: str) -> dict[str, Any]:
    """Return the one output that the text of a .dvc file names: `md5`, `path` and what DVC or the user adds.

    Raises:
        FeropsError: it is not YAML, or names no such output.
    """
    remedy = f"Get it back from git: git checkout {Path(origin).name}. To version what is in the folder: dvc add"
    tree = parse_yaml(content, origin=origin, remedy=remedy)
    outs = tree.get("outs") if isinstance(tree, dict) else None
    out = outs[0] if isinstance(outs, list) and len(outs) == 1 else None
    if not isinstance(out, dict) or not _is_version(out.get("md5")) or not isinstance(out.get("path"), str):
        raise FeropsError(f"{origin} names no version of a folder: `outs` needs one entry with md5 and path. {remedy}")
    return out


def _is_version(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]+(\.dir)?", value) is not None


def split_hash(layout: Layout) -> str | None:
    """Return the SHA-256 (first 16 hex digits) of the sorted `image_id split` lines, or None before the split."""
    if not layout.assignment.exists():
        return None
    from ferops.tables import read_parquet  # and pandas

    frame = read_parquet(layout.assignment, {"image_id": "text", "split": "text"}, made_by="ferops split")
    frame = frame[["image_id", "split"]].sort_values("image_id")
    lines = "\n".join(f"{image_id} {split}" for image_id, split in frame.itertuples(index=False))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def git_commit(root: Path) -> str | None:
    """Return the checked-out commit, with `-dirty` if tracked files differ (dvc.lock aside: a run rewrites it)."""
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    return f"{head}-dirty" if changes else head


def _git(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
