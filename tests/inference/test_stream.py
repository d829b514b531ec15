from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferops import pool, threads
from ferops.datasets.images import UnreadableImageError
from ferops.faces.photo import Photo
from ferops.inference import stream
from ferops.inference.predictor import Predictor
from ferops.inference.stream import Reader, Result, results


class Blind:
    """A detector that finds nothing."""

    def detect(self, images: Any) -> list[list[Any]]:
        return [[] for _ in images]


@pytest.fixture(scope="module")
def predictor(make_export: Any) -> Predictor:
    return Predictor(make_export(), detector=Blind())


def image(name: str) -> Photo:
    """Images are called by their height, and some by their trouble."""
    if name == "damaged":
        raise UnreadableImageError("The image is damaged.")
    if name == "away":
        raise FileNotFoundError(2, "No such file or directory", name)
    return Photo.of(np.zeros((int(name), 10, 3), np.uint8))


def test_every_image_has_a_result_in_order(predictor: Predictor) -> None:
    names = ["5", "damaged", "7", "away", "9"]
    batches = list(results(predictor, names, Reader(image, 2)))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    found = [result for batch in batches for result in batch]
    assert [result.source for result in found] == names
    assert [result.prediction and result.prediction.height for result in found] == [5, None, 7, None, 9]
    assert [result.status for result in found] == ["no_face", "unreadable", "no_face", "unreadable", "no_face"]
    assert [result.reason for result in found] == [
        "",
        "The image is damaged.",
        "",
        "The file cannot be read: No such file or directory.",
        "",
    ]


def test_large_images_make_small_batches(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH_PX", 1000)  # 100 rows
    batches = results(predictor, ["40", "40", "40", "100", "5", "5"], Reader(image, 4))
    assert [len(batch) for batch in batches] == [3, 1, 2]


def test_only_two_batches_are_in_memory_however_many_images_there_are(predictor: Predictor) -> None:
    taken = 0

    def names() -> Any:
        nonlocal taken
        for _ in range(10_000):
            taken += 1
            yield "3"

    seen = 0
    for batch in results(predictor, names(), Reader(image, 50)):
        seen += len(batch)
        assert taken <= seen + 50
    assert seen == 10_000


def again(folder: Path) -> Predictor:
    return Predictor(folder, detector=Blind(), threads=1)


def note(folder: Path, found: Sequence[Result]) -> None:
    """Leave the process's number for each image that is at hand; the first process waits for another one's."""
    for result in found:
        if result.photo:
            (folder / f"{result.source} {os.getpid()}").touch()
    if multiprocessing.parent_process() is None and len(pids(folder)) < 2:
        time.sleep(0.1)


def pids(folder: Path) -> set[str]:
    return {path.name.split()[1] for path in folder.iterdir()}


def test_two_processes_give_what_one_gives(make_export: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*("damaged" if number % 7 == 0 else str(number) for number in range(1, 200)), "away"]
    export = make_export()
    alone = list(results(again(export), names, Reader(image, 3)))
    monkeypatch.setattr(pool, "WORTH_STARTING_S", 0.0)
    monkeypatch.setattr(threads, "current", lambda: 2)
    reader = Reader(image, 3, partial(note, tmp_path))
    together = list(results(again(export), names, reader, again=partial(again, export), count=len(names)))
    assert len(pids(tmp_path)) == 2
    assert sorted(path.name.split()[0] for path in tmp_path.iterdir()) == sorted({*names} - {"damaged", "away"})
    assert all(result.photo is None for batch in together for result in batch), "they would cross between processes"
    said = [[(each.source, each.status, each.reason) for batch in run for each in batch] for run in (alone, together)]
    assert said[0] == said[1]


def test_an_unexpected_error_is_not_a_result(predictor: Predictor) -> None:
    def broken(name: str) -> Photo:
        raise ZeroDivisionError(name)

    with pytest.raises(ZeroDivisionError):
        list(results(predictor, [str(Path("a"))], Reader(broken, 2)))
