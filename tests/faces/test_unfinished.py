"""A run of `preprocess` that was stopped: the next one goes on, and writes what an undisturbed run writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from numpy.typing import NDArray

from faces_project import Stand, changed, digests, project
from ferops.config import Params
from ferops.errors import FeropsError
from ferops.faces.detection import Detection
from ferops.faces.stage import preprocess
from ferops.faces.unfinished import Unfinished
from ferops.layout import Layout

DARK = {("fear", 0), ("sad", 1)}
TESTS = Path(__file__).parents[1]


class Stopped(Stand):
    """A Stand that is interrupted before its `last` + 1st batch."""

    def __init__(self, *, last: int) -> None:
        super().__init__()
        self.last = last

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        if len(self.sizes) >= self.last:
            raise KeyboardInterrupt
        return super().detect(images)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """The files of a whole run, and how many batches the detector saw."""
    layout, params = project(tmp_path_factory.mktemp("whole"), dark=DARK)
    detector = Stopped(last=1000)
    preprocess(layout, params, detector=detector)
    return digests(layout.artifacts("preprocess")), len(detector.sizes)


@pytest.fixture
def stopped(tmp_path: Path) -> tuple[Layout, Params]:
    """A project where a run was interrupted in its seventh shard: three of tight crops and three that were searched."""
    layout, params = project(tmp_path, dark=DARK)
    with pytest.raises(KeyboardInterrupt):
        preprocess(layout, params, detector=Stopped(last=3))
    return layout, params


def folder_of(layout: Layout) -> Path:
    return Unfinished(layout, made_from="", size_px=32).folder


def lines(layout: Layout) -> int:
    return len((folder_of(layout) / "shards.jsonl").read_bytes().splitlines())


def test_the_next_run_goes_on_after_the_last_whole_shard(
    stopped: tuple[Layout, Params], undisturbed: tuple[dict[str, str], int]
) -> None:
    layout, params = stopped
    assert not layout.artifacts("preprocess").exists()
    assert lines(layout) == 6
    detector = Stopped(last=1000)
    summary = preprocess(layout, params, detector=detector)
    files, batches = undisturbed
    assert digests(layout.artifacts("preprocess")) == files
    assert 0 < len(detector.sizes) <= batches - 3 + 1
    assert summary.images == 36
    assert (layout.reports("preprocess") / "no_face.png").exists()  # of the first run
    assert not folder_of(layout).exists()


@pytest.mark.parametrize("name", ["train.npy", "images.bin", "shards.jsonl"])
def test_what_a_kill_left_behind_the_last_shard_is_cut_off(
    stopped: tuple[Layout, Params], undisturbed: tuple[dict[str, str], int], name: str
) -> None:
    layout, params = stopped
    with (folder_of(layout) / name).open("ab") as file:
        file.write(b'{"crc": 1')
    detector = Stopped(last=1000)
    preprocess(layout, params, detector=detector)
    assert digests(layout.artifacts("preprocess")) == undisturbed[0]
    assert len(detector.sizes) <= undisturbed[1] - 2


def test_bytes_that_did_not_reach_the_disk_are_made_again(
    stopped: tuple[Layout, Params], undisturbed: tuple[dict[str, str], int]
) -> None:
    layout, params = stopped
    images = folder_of(layout) / "images.bin"
    content = images.read_bytes()
    images.write_bytes(content[:-40] + bytes(40))
    preprocess(layout, params, detector=Stopped(last=1000))
    assert digests(layout.artifacts("preprocess")) == undisturbed[0]


def test_other_settings_or_data_start_anew(stopped: tuple[Layout, Params], tmp_path: Path) -> None:
    layout, params = stopped
    other = changed(params, margin=0.2)
    preprocess(layout, other, detector=Stopped(last=1000))
    fresh, params = project(tmp_path / "fresh", dark=DARK)
    preprocess(fresh, changed(params, margin=0.2), detector=Stopped(last=1000))
    assert digests(layout.artifacts("preprocess")) == digests(fresh.artifacts("preprocess"))


def test_the_order_of_the_manifest_is_kept(tmp_path: Path) -> None:
    """Whatever the order in which shards come."""
    layout, params = project(tmp_path, dark=DARK)
    manifest = pd.read_parquet(layout.manifest).sample(frac=1, random_state=7)
    manifest.to_parquet(layout.manifest, index=False)
    preprocess(layout, params, detector=Stand())
    faces = pd.read_parquet(layout.face_index)
    assert faces["image_id"].tolist() == manifest["image_id"].tolist()
    assert (faces["status"].eq("tight") == faces["source"].eq("tight")).all()
    for split, rows in faces[faces["row"] >= 0].groupby("split"):
        assert sorted(rows["row"]) == list(range(len(np.load(layout.faces(str(split))))))


def test_two_runs_at_once(stopped: tuple[Layout, Params]) -> None:
    layout, params = stopped
    with FileLock(folder_of(layout) / "lock"), pytest.raises(FeropsError, match=r"another `ferops preprocess` works"):
        preprocess(layout, params, detector=Stand())
    assert lines(layout) == 6


KILLED = """
import os, signal, sys
from pathlib import Path
from test_unfinished import DARK, Stopped, preprocess, project

class Killed(Stopped):
    def detect(self, images):
        if len(self.sizes) >= 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().detect(images)

Killed.__qualname__ = "Stopped"
preprocess(*project(Path(sys.argv[1]), dark=DARK), detector=Killed(last=1000))
"""


@pytest.mark.slow
def test_a_kill_costs_the_shard_in_work(tmp_path: Path, undisturbed: tuple[dict[str, str], int]) -> None:
    path = os.pathsep.join([str(TESTS), str(Path(__file__).parent), *sys.path])
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "project")], env=os.environ | {"PYTHONPATH": path}, check=False
    )
    assert child.returncode == -signal.SIGKILL
    _, params = project(tmp_path / "same", dark=DARK)
    detector = Stopped(last=1000)
    preprocess(Layout(tmp_path / "project"), params, detector=detector)
    assert digests(Layout(tmp_path / "project").artifacts("preprocess")) == undisturbed[0]
    assert len(detector.sizes) <= undisturbed[1] - 3 + 1
