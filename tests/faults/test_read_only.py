"""data/ that cannot be written: one message, nothing moved, no journal, and the right exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

import small_disk
from releases import make_folder
from sample_images import noise_png

pytestmark = pytest.mark.slow

PREPARE = """
git init -q; python -m dvc init -q
python -m ferops import folder ../one --name a >/dev/null
sha256sum data/a.parquet data.dvc >../before
"""
CHECK = """
python -m ferops import folder ../two --name a && exit 9
python -m ferops data || exit 8
sha256sum --check --quiet ../before
ls -A .ferops data | xargs echo left:
"""


@pytest.mark.parametrize(
    ("protect", "release"),
    [
        ("mount --bind data data && mount -o remount,bind,ro data", "umount data"),
        ("chattr +i data 2>/dev/null || exit 77", "chattr -i data"),
    ],
)
def test_an_import_into_read_only_data(tmp_path: Path, protect: str, release: str) -> None:
    small_disk.require_mounts()
    for number, name in enumerate(("one", "two")):
        make_folder(tmp_path / name, {f"sad/{i}.png": noise_png(10 * number + i) for i in range(2)})
    root = tmp_path / "project"
    root.mkdir()
    done = small_disk.run(root, f"{PREPARE}\n{protect}\ntrap '{release}' EXIT\n{CHECK}")
    if done.returncode == 77:
        pytest.skip("this disk has no immutable folders")
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}{done.stderr}"
    assert "ferops: data cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert "2 images in 1 source" in done.stdout
    assert done.stdout.strip().endswith("left: .ferops: import.lock data: a.parquet")


def test_a_project_that_is_not_ours_to_write(tmp_path: Path) -> None:
    small_disk.require_mounts()
    make_folder(tmp_path / "one", {"sad/1.png": noise_png(1)})
    root = tmp_path / "project"
    root.mkdir()
    script = """
    git init -q; python -m dvc init -q; mount --bind . . && mount -o remount,bind,ro .
    cd ../project; ! python -m ferops import folder ../one --name a || exit 9
    """
    done = small_disk.run(root, script)
    assert done.returncode == 0, done.stderr
    assert "ferops: .ferops cannot be written: Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
