"""`ferops init`: a new project from the files that ferops brings."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ferops import config, presets
from ferops.errors import FeropsError
from ferops.files import write_text
from ferops.layout import Layout
from ferops.scratch import scratch_folder
from ferops.starter import shipped

_CODE = "- src/ferops/"  # what a stage of this repository depends on: an installed ferops is no part of the project
_EMBEDDED = ".dvc/embedded/"


def init(root: Path, preset: str) -> Layout:
    """Write a project with the settings of `preset` into the folder `root`, which is made if it does not exist.

    Git is initialised unless `root` lies in a repository already. The starter comes along, and with a preset that uses
    them the rendered faces.

    Raises:
        FeropsError: the preset is unknown, something would be overwritten, or Git is missing or fails. Nothing is
            written then.
    """
    settings = presets.render(preset)
    synthetic = "synthetic" in config.parse(presets.parse(settings)).data.sources
    files = {name: file for name, file in shipped.project_files().items() if not name.startswith(_EMBEDDED)}
    if not synthetic:
        del files["data.dvc"]
    for dvc_file in ("starter.dvc", *(["data.dvc"] if synthetic else [])):
        files |= {name: shipped.origin() / name for name in shipped.objects(dvc_file)}
    _require_free(root, {name.partition("/")[0] for name in (*files, "params.yaml", "README.md")})
    if shutil.which("git") is None:
        raise FeropsError("git was not found; a project keeps code, settings and data versions in it. Install git")
    root.mkdir(parents=True, exist_ok=True)
    with scratch_folder(root, "init") as scratch:
        staged = scratch / "project"
        for name, file in files.items():
            copy = staged / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        stages = (staged / "dvc.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(staged / "dvc.yaml", "".join(line for line in stages if not line.strip().startswith(_CODE)))
        write_text(staged / "params.yaml", settings)
        about = Path(__file__).with_name("project.md").read_text(encoding="utf-8")
        write_text(staged / "README.md", about.format(preset=preset))
        _git_init(root)
        for path in sorted(staged.iterdir(), key=lambda path: path.name == "params.yaml"):
            path.rename(root / path.name)  # params.yaml last: with it the folder is a project
    return Layout(root)


def _require_free(root: Path, names: set[str]) -> None:
    if root.exists() and not root.is_dir():
        raise FeropsError(f"{root} is no folder. Name a new or an empty one: ferops init DIR")
    taken = sorted(name for name in names if (root / name).exists())
    if taken:
        raise FeropsError(
            f"{root} already has {', '.join(taken)}, and ferops init overwrites nothing. Name a new or an empty "
            "folder: ferops init DIR. For other settings in a project: ferops preset NAME"
        )


def _git_init(root: Path) -> None:
    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)

    if git("rev-parse", "--is-inside-work-tree").stdout.strip() == "true":
        return
    done = git("init", "--quiet")
    if done.returncode != 0:
        raise FeropsError(f"git init failed in {root}: {done.stderr.strip()}")
