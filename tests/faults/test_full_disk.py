"""A disk that is really full: what was imported is stored, or the import fails and the former version stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import small_disk
from releases import make_folder
from sample_images import encoded

pytestmark = pytest.mark.slow

CACHE = "mkdir -p .dvc/cache && mount -t tmpfs -o size={mb}m tmpfs .dvc/cache"
FEROPS = 'ferops() { python -m ferops "$@"; }; dvc() { python -m dvc "$@"; }'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a remote of the user's own, and two releases of 1.7 MB each beside it."""
    small_disk.require_mounts()
    root = tmp_path_factory.mktemp("full") / "project"
    root.mkdir()
    done = small_disk.run(root, f"{FEROPS}; git init -q; dvc init -q; dvc remote add -q -d mine ../mine")
    assert done.returncode == 0, done.stderr
    for number in (1, 2):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 380, 380, 3), dtype=np.uint8)
        files = {f"{label}/{i}.png": encoded(pixels[i]) for i, label in enumerate(("happy", "happy", "sad", "sad"))}
        make_folder(root.parent / f"release-{number}", files)
    return root


def _in_a_copy(project: Path, tmp_path: Path, script: str) -> tuple[Path, str]:
    """Run `script` in a copy of the project; what it prints is returned, and it must end well."""
    root = tmp_path / "project"
    shutil.copytree(project, root)
    releases = f"one={project.parent}/release-1; two={project.parent}/release-2"
    done = small_disk.run(root, f"{FEROPS}; {releases}\n{script}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return root, done.stdout + done.stderr


def test_an_import_that_dvc_cannot_store_fails_and_the_former_version_stays(project: Path, tmp_path: Path) -> None:
    _, said = _in_a_copy(
        project,
        tmp_path,
        f"""
        {CACHE.format(mb=3)}
        ferops import folder $one --name a >/dev/null
        sha256sum data/a.parquet data.dvc >before
        ! ferops import folder $two --name a || exit 9
        sha256sum --check --quiet before
        ls .ferops | xargs echo left:
        find .dvc/cache -name '*.tmp'
        dvc status -q
        rm -r data && dvc checkout -q data.dvc && sha256sum --check --quiet before
        """,
    )
    assert "does not hold all of version" in said
    assert "a.parquet (No space left on device)" in said
    assert "Traceback" not in said
    assert "left: import.lock\n" in said
    assert ".tmp" not in said


def test_a_version_that_a_dvc_add_by_hand_failed_to_store_is_not_dropped(project: Path, tmp_path: Path) -> None:
    _, said = _in_a_copy(
        project,
        tmp_path,
        f"""
        ferops import folder $one --name a >/dev/null
        {CACHE.format(mb=1)}
        dvc add data 2>/dev/null
        sha256sum data/a.parquet data.dvc >before
        ! ferops import folder $two --name a || exit 9
        sha256sum --check --quiet before
        mount -o remount,size=9m .dvc/cache
        ferops import folder $two --name a >/dev/null
        find .dvc/cache -type f -size +1000k ! -name '*.tmp' | wc -l | sed 's/^/stored: /'
        """,
    )
    assert "does not hold all of version" in said
    assert "stored: 2\n" in said  # the former version's file, too


def test_a_full_disk_of_the_project_leaves_nothing_half_written(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    script = f"""{FEROPS}
        mount -t tmpfs -o size=1m tmpfs .
        cd $PWD && cp -r {project}/. . && ! ferops import folder {project.parent}/release-1 --name a || exit 9
        ls -A . .ferops
        """
    done = small_disk.run(root, script)
    assert done.returncode == 0, done.stderr
    assert "no space left on the disk while writing" in done.stderr
    assert "gc" not in done.stderr.split()
    assert "Traceback" not in done.stderr
    listed = done.stdout.split()
    assert "data" not in listed
    assert "data.dvc" not in listed
    assert not [name for name in listed if name.endswith(".tmp")]


STAGE = "stages:\n  big:\n    cmd: mkdir big; head -c 2000000 /dev/urandom > big/x\n    outs: [big]\n"


def test_results_that_dvc_cannot_store_are_no_success(project: Path, tmp_path: Path) -> None:
    _, said = _in_a_copy(
        project,
        tmp_path,
        f"""
        {CACHE.format(mb=1)}
        printf '{STAGE}' >dvc.yaml
        dvc repro -q 2>/dev/null && echo dvc says 0
        python - <<'CODE'
from pathlib import Path
from ferops.datasets.store import outputs_not_stored
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.orchestration.dag import reproduce
print("not stored:", outputs_not_stored(Layout()))
try:
    reproduce(Path(), "big", on_line=lambda line: None, force=True)
except FeropsError as error:
    print(error)
CODE
        """,
    )
    assert "dvc says 0" in said
    assert "not stored: ['big']" in said
    assert "DVC could not store all outputs of big in its cache" in said


def test_a_pull_or_push_onto_a_full_disk_fails_and_then_works(project: Path, tmp_path: Path) -> None:
    _, said = _in_a_copy(
        project,
        tmp_path,
        f"""
        ferops import folder $one --name a >/dev/null
        mkdir ../mine && mount -t tmpfs -o size=1m tmpfs ../mine
        ! dvc push -q data.dvc 2>/dev/null || exit 9
        mount -o remount,size=9m ../mine
        dvc push -q data.dvc && rm -r data .dvc/cache
        {CACHE.format(mb=1)}
        printf 'stages: {{}}\\n' >dvc.yaml && ferops preset quick >/dev/null
        ! ferops run || exit 9
        mount -o remount,size=9m .dvc/cache
        dvc pull -q data.dvc && ferops data
        """,
    )
    assert "ferops: the data could not be pulled" in said
    assert "4 images in 1 source" in said
