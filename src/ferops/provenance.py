"""What a result is made from, as the project stands now."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from ferops import __version__
from ferops.config import Params
from ferops.errors import FeropsError
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
    try:
        tree = YAML(typ="safe").load(layout.data_dvc.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FeropsError(
            f"{layout.data_dvc} does not exist: the data is not versioned. "
            "Import a data set (`ferops import --help`) or track what is there: dvc add data"
        ) from error
    return str(tree["outs"][0]["md5"]).removesuffix(".dir")


def split_hash(layout: Layout) -> str | None:
    """Return the SHA-256 (first 16 hex digits) of the sorted `image_id split` lines, or None before the split."""
    if not layout.assignment.exists():
        return None
    frame = pd.read_parquet(layout.assignment, columns=["image_id", "split"]).sort_values("image_id")
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
