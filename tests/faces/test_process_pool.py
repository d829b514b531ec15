"""Shards go to processes and come back in order; whoever dies or is stopped leaves nobody behind."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from ferops.errors import FeropsError
from ferops.faces.detection import Detection
from ferops.faces.process_pool import Work, extract_shards
from ferops.faces.shard import Encoded, Extracted, Shard
from sample_images import encoded, quick_params

SETTINGS = quick_params(preprocess={"size_px": 32, "no_face": "keep", "min_face_px": 0}).preprocess
PARENT = os.getpid()


class Marker:
    """Finds no face, notes its process, and does `deed` in a process that is not the first, which waits for it unless
    it is `alone`."""

    def __init__(self, notes: Path, *, deed: str = "", alone: bool = False) -> None:
        self.notes, self.deed, self.alone = notes, deed, alone

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        with (self.notes / str(os.getpid())).open("a") as note:
            note.write(f"{cv2.getNumThreads()}\n")
        if multiprocessing.parent_process() is not None:
            if self.deed == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.deed == "raise":
                raise FeropsError("this image is odd")
        elif not self.alone and len(list(self.notes.iterdir())) < 2:
            time.sleep(0.2)  # until the other process is up
        return [[] for _ in images]


def shards(count: int) -> Iterator[Shard]:
    for number in range(count):
        grey = np.full((120, 110, 3), number, np.uint8)
        yield Shard((Encoded(f"{number:03d}", encoded(grey), 110, 120),), tight=False, search=True)


def run(tmp_path: Path, *, workers: Any, count: int = 30, deed: str = "") -> list[Extracted]:
    work = Work(SETTINGS, functools.partial(Marker, tmp_path, deed=deed, alone=workers == 1))
    with closing(extract_shards(shards(count), work, workers=workers, to_search=count)) as results:
        return list(results)


def test_two_processes_give_what_one_gives_in_the_same_order(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    alone, together = run(tmp_path / "one", workers=1), run(tmp_path / "two", workers=2)
    assert len(list((tmp_path / "one").iterdir())) == 1
    notes = {path.name: path.read_text().split() for path in (tmp_path / "two").iterdir()}
    assert len(notes) == 2
    assert str(os.getpid()) in notes, "this process works too"
    assert {threads for lines in notes.values() for threads in lines} == {"1"}
    for index, (one, two) in enumerate(zip(alone, together, strict=True)):
        assert one.records[0]["image_id"] == two.records[0]["image_id"] == f"{index:03d}"
        assert (one.pixels == index).all()
        np.testing.assert_array_equal(one.pixels, two.pixels)
        assert one.searched == two.searched == 1


def test_threads_come_back(tmp_path: Path) -> None:
    before = cv2.getNumThreads()
    run(tmp_path, workers=1, count=2)
    assert cv2.getNumThreads() == before


def test_a_process_that_dies_is_said_and_nobody_stays(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(FeropsError, match=r"died.*memory.*preprocess\.workers"):
        run(tmp_path, workers=2, count=50, deed="die")
    assert not {child for child in multiprocessing.active_children() if psutil.Process(child.pid) not in before}


def test_an_error_in_a_process_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(FeropsError, match="this image is odd"):
        run(tmp_path, workers=2, count=50, deed="raise")
    assert not multiprocessing.active_children()


SLOW = """
import functools, sys, time
from pathlib import Path
from test_process_pool import SETTINGS, Marker, shards
from ferops.faces.process_pool import Work, extract_shards, sigterm_stops
from ferops.files import atomic_folder

class Slow(Marker):
    def detect(self, images):
        time.sleep(0.2)
        return super().detect(images)

if __name__ == "__main__":
    root = Path(sys.argv[1])
    (root / "notes").mkdir()
    with sigterm_stops(), atomic_folder(root / "out") as folder:
        work = Work(SETTINGS, functools.partial(Slow, root / "notes"))
        for extracted in extract_shards(shards(10000), work, workers=2, to_search=1):
            (folder / "part").write_text("x")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "cleans"), [(signal.SIGTERM, True), (signal.SIGINT, True), (signal.SIGKILL, False)])
def test_a_stop_leaves_no_process_and_nothing_half_written(
    tmp_path: Path, number: signal.Signals, cleans: bool
) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    child = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("notes/*"))) < 2:
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.1)
        workers = psutil.Process(child.pid).children(recursive=True)
        assert workers
        child.send_signal(number)
        _, errors = child.communicate(timeout=30)
        assert child.returncode != 0
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive
        assert not (tmp_path / "out").exists()
        if cleans:
            assert not list(tmp_path.glob(".out*"))
        if number == signal.SIGTERM:
            assert b"stopped by SIGTERM" in errors
    finally:
        child.kill()
        child.wait()
