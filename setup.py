"""What pyproject.toml cannot say: the wheel holds the files of a project, which `ferops init` writes."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildPy(build_py):
    """Copies what `[tool.ferops] project` lists to ferops/project; an editable installation reads the originals."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "ferops" / "project"
        shutil.rmtree(target, ignore_errors=True)
        for name in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ferops"]["project"]:
            source, copy = ROOT / name, target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, copy)


setup(cmdclass={"build_py": BuildPy})
