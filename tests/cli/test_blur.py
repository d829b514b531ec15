"""`ferops blur`: copies whose faces cannot be recognised, with nothing drawn in."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from ferops import threads
from ferops.cli import app
from ferops.inference import predictor
from ferops.scoring import opening
from ferops.video import watch
from middle import Middle
from sample_images import encoded

NOISE = np.random.default_rng(0).integers(1, 255, (80, 100, 3), dtype=np.uint8)
HIDDEN = np.s_[18:63, 18:63]
"""The box that `Middle` finds, and what surely lies within the tenth that is blurred around it."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, make_export: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    model = str(make_export(favours="happy"))
    opened = opening.opened
    monkeypatch.setattr(opening, "opened", lambda layout, _: opened(layout, model))
    for module in (predictor, watch):
        monkeypatch.setattr(module, "build", lambda *_, **__: Middle())
    monkeypatch.setattr(threads, "choose", lambda _: 1)
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, content in {"noise.png": encoded(NOISE), "black.png": encoded(NOISE * 0)}.items():
        (photos / name).write_bytes(content)
    return tmp_path


def blur(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["blur", *arguments])


def test_a_face_is_gone_and_the_rest_is_as_it_was() -> None:
    found = blur("photos", "--to", "copies")
    assert (found.exit_code, found.stdout) == (0, "")
    assert found.stderr.splitlines() == [
        "2 images, 1 face; 1 without a face",
        "faces that were not found are as they were: look before you publish",
    ]
    before, after = NOISE.astype(int), np.asarray(Image.open("copies/noise.png")).astype(int)
    assert np.abs(np.diff(after[HIDDEN], axis=1)).mean() < np.abs(np.diff(before[HIDDEN], axis=1)).mean() / 10
    outside = np.ones((80, 100), bool)
    outside[15:66, 15:66] = False
    np.testing.assert_array_equal(after[outside], before[outside])
    assert not np.asarray(Image.open("copies/black.png")).any()


def test_a_damaged_image_has_no_copy_and_ends_with_a_status_of_its_own() -> None:
    Path("photos/damaged.jpg").write_bytes(encoded(NOISE)[:100])
    found = blur("photos", "--to", "copies")
    assert found.exit_code == 3
    assert "1 could not be read" in found.stderr
    assert {path.name for path in Path("copies").iterdir()} == {"noise.png", "black.png"}


def test_nothing_is_replaced() -> None:
    Path("copies").mkdir()
    Path("copies/mine.png").write_bytes(b"mine")
    found = blur("photos", "--to", "copies")
    assert str(found.exception) == "--to copies holds files. Name another folder, or go on in it: --resume"
    assert [path.name for path in Path("copies").iterdir()] == ["mine.png"]
    assert blur("photos", "--to", "copies", "--resume").exit_code == 0


def test_a_video_is_copied_with_each_face_gone(folder: Path) -> None:
    with av.open(str(folder / "noise.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 100, 80, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.kron(NOISE[::8, ::10], _BLOCK), format="rgb24")))
        container.mux(stream.encode(None))
    found = blur("noise.mp4", "--to", "copy.mp4")
    assert (found.exit_code, found.stdout) == (0, "")
    assert "3 frames, 1 face followed" in found.stderr
    assert "anger" not in found.stderr
    spread = partial(np.std, axis=(0, 1))
    with av.open("noise.mp4") as given, av.open("copy.mp4") as copied:
        for before, after in zip(given.decode(video=0), copied.decode(video=0), strict=True):
            old, new = before.to_ndarray(format="rgb24"), after.to_ndarray(format="rgb24")
            assert (spread(new[HIDDEN]) < spread(old[HIDDEN])).all()
            assert np.abs(new[:10].astype(int) - old[:10]).mean() < 20  # compressed again, and nothing drawn in


_BLOCK = np.ones((8, 10, 1), np.uint8)
"""Blocks of one colour: what a video keeps."""


def test_a_video_is_not_gone_on_with() -> None:
    found = blur("noise.mp4", "--to", "copy.mp4", "--resume")
    assert found.exit_code == 2
    assert "concerns images" in found.stderr
