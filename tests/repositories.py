"""Git and DVC repositories whose `dvc` commands run within this process: a process of its own takes over a second."""

from __future__ import annotations

import subprocess
from contextlib import chdir
from pathlib import Path

import pytest


def git(root: Path, *arguments: str) -> str:
    """Run git in `root`; return what it prints."""
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def dvc(root: Path, *arguments: str) -> None:
    """Run a `dvc` command in `root`, quietly; it must succeed."""
    from dvc.cli import main

    with chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        assert main([*arguments, "-q"]) == 0, f"dvc {' '.join(arguments)}"


def make_repository(root: Path, *, scm: bool = True) -> Path:
    """`dvc init` in `root`, which is made, with a Git repository where `scm`; its commits have an author."""
    root.mkdir(parents=True, exist_ok=True)
    if scm:
        git(root, "init", "-q", "-b", "main")
        git(root, "config", "user.email", "t@example.org")
        git(root, "config", "user.name", "t")
    dvc(root, "init", *([] if scm else ["--no-scm"]))
    return root
