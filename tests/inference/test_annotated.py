from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from answers import face, result
from ferops.datasets.images import decode
from ferops.errors import FeropsError
from ferops.faces.photo import Photo
from ferops.inference.annotated import AnnotatedSink
from ferops.inference.stream import Result


def sink(target: Path, *, root: Path | None = None, images: int = 2, **how: Any) -> AnnotatedSink:
    return AnnotatedSink(target, root=root, images=images, **({"blur": False, "resume": False} | how))


def test_images_keep_their_names_below_the_folder(tmp_path: Path) -> None:
    names = ("photos/a.jpg", "photos/b/c.tif", "photos/d", "photos/e.webp", "photos/f.gif")
    annotated = sink(tmp_path / "out", root=Path("photos"))
    annotated.write([*(result(name, face()) for name in names), Result("photos/g.jpg", reason="damaged")])
    formats = {}
    for path in (tmp_path / "out").rglob("*.*"):
        with Image.open(path) as image:
            formats[path.relative_to(tmp_path / "out").as_posix()] = image.format
            assert image.size == (100, 80)
            assert np.asarray(image.convert("RGB")).std() > 5, "something is drawn"
    assert formats == {"a.jpg": "JPEG", "b/c.tif": "TIFF", "d.png": "PNG", "e.webp": "WEBP", "f.gif": "GIF"}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("a/b.jpg", "a/b.jpg"), ("/x/b.jpg", "x/b.jpg"), ("../b.jpg", "up/b.jpg"), ("-", "stdin.png"), ("./b", "b.png")],
)
def test_several_sources_keep_their_paths_and_nothing_is_written_outside(source: str, wanted: str) -> None:
    assert sink(Path("out")).path(source) == Path("out") / wanted


def test_a_file_for_one_image(tmp_path: Path) -> None:
    sink(tmp_path / "new" / "out.png", images=1).write([result("photo.jpg", face())])
    assert (tmp_path / "new" / "out.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FeropsError, match="but there are 2 images"):
        sink(tmp_path / "two.png")


def test_no_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    precious = tmp_path / "out" / "a.jpg"
    precious.write_bytes(b"precious")
    with pytest.raises(FeropsError, match="holds files"):
        sink(tmp_path / "out")
    with pytest.raises(FeropsError, match="exists"):
        sink(precious, images=1)
    again = sink(tmp_path / "out", resume=True)
    assert (again.holds("a.jpg"), again.holds("b.jpg")) == (True, False)
    again.write([result("a.jpg"), result("b.jpg")])
    assert precious.read_bytes() == b"precious"
    assert (tmp_path / "out" / "b.jpg").exists()


def test_drawings_are_not_put_among_the_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for target in (tmp_path / "photos", tmp_path / "photos" / "drawn"):
        with pytest.raises(FeropsError, match="lies in"):
            sink(target, root=tmp_path / "photos")


def test_blurred(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    plain = result("a.png", face(x=20, y=20, side=50))
    sink(tmp_path / "out", blur=True).write([Result("a.png", Photo.of(noise), plain.prediction)])
    drawn = decode((tmp_path / "out" / "a.png").read_bytes())
    assert np.abs(np.diff(drawn[40:65, 25:65].astype(int), axis=1)).mean() < 3
