from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ferops.datasets.images import UnreadableImageError
from ferops.errors import FeropsError
from ferops.inference.sources import STDIN, Sources, read
from sample_images import noise_png

FILES = (
    "b.jpg",
    "a.PNG",
    "c/d/e.webp",
    "c/i.heic",
    "c/notes.md",
    ".hidden/f.jpg",
    "c/._g.jpg",
    "__MACOSX/h.jpg",
    "bare",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise_png(1))
    (tmp_path / "photos" / "README").write_text("no image")
    os.mkfifo(tmp_path / "photos" / "waits")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["photos"], ["photos/a.PNG", "photos/b.jpg", "photos/bare", "photos/c/i.heic", "photos/c/d/e.webp"]),
        (["photos/bare", "photos/b.jpg"], ["photos/bare", "photos/b.jpg"]),
        (["photos/*.jpg"], ["photos/b.jpg"]),
        (["photos/**/*.webp"], ["photos/c/d/e.webp"]),
        (["photos/*"], ["photos/a.PNG", "photos/b.jpg", "photos/bare"]),
        (["photos/*/"], ["photos/c/i.heic", "photos/c/d/e.webp"]),
        (["list.txt", "-"], ["photos/b.jpg", "photos/c/i.heic", "photos/c/d/e.webp", "-"]),
    ],
)
def test_names_are_listed_in_order(folder: Path, given: list[str], wanted: list[str]) -> None:
    (folder / "list.txt").write_text("photos/b.jpg\n\nphotos/c\n")
    found = Sources(given)
    assert list(found) == wanted
    assert found.extent() == (len(wanted), max(map(len, wanted)), STDIN in wanted)
    assert list(found) == wanted, "a second listing is the same"


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(folder: Path) -> None:
    (folder / "photos" / "[1].jpg").write_bytes(noise_png(2))
    assert list(Sources(["photos/[1].jpg"])) == ["photos/[1].jpg"]


def test_links_to_folders_make_no_endless_listing(folder: Path) -> None:
    (folder / "photos" / "loop").symlink_to(folder / "photos")
    assert Sources(["photos"]).extent().images == 5


def test_the_root_is_the_one_folder(folder: Path) -> None:
    assert Sources(["photos"]).root == Path("photos")
    assert Sources(["photos", "photos/c"]).root is None
    assert Sources(["photos/b.jpg"]).root is None
    assert folder


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.jpg", "nowhere.jpg does not exist. SOURCE is an image, a folder"),
        ("camera:0", "camera:0 does not exist"),
        ("photos/__MACOSX/..", None),
        ("empty", "the folder empty holds no image"),
        ("photos/*.bmp", "no image fits photos/\\*.bmp"),
        ("pipe", "pipe is no regular file"),
        ("bytes.txt", "bytes.txt is no text in UTF-8"),
    ],
)
def test_what_is_nothing_is_said(folder: Path, given: str, message: str | None) -> None:
    (folder / "empty").mkdir()
    (folder / "bytes.txt").write_bytes(b"\xff\xfe\n")
    os.mkfifo(folder / "pipe")
    if message is None:
        assert Sources([given]).extent().images == 5
        return
    with pytest.raises(FeropsError, match=message):
        Sources([given]).extent()


def test_reading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = read("photos/b.jpg").pixels
    assert (pixels.shape, pixels.dtype) == ((48, 48, 3), np.uint8)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(noise_png(1))))
    np.testing.assert_array_equal(read("-").pixels, pixels)
    (folder / "broken.jpg").write_bytes(noise_png(1)[:100])
    with pytest.raises(UnreadableImageError, match="damaged"):
        read("broken.jpg")
    os.mkfifo(folder / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read("pipe")


def test_a_file_that_no_memory_would_hold_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferops.inference.sources.MAX_IMAGE_BYTES", 2**20)
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(OSError, match="more than 1 MiB"):
        read("huge.jpg")
