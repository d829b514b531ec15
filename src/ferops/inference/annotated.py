"""Images with the faces drawn in, or made unrecognisable, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL.Image import Image, fromarray

from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.errors import FeropsError
from ferops.faces.photo import turned
from ferops.files import atomic_file, disk_errors
from ferops.inference.drawing import blur as blurred
from ferops.inference.inputs import ImageLike, as_pixels
from ferops.inference.lines import refuse_existing
from ferops.inference.prediction import Prediction
from ferops.inference.sources import STDIN
from ferops.inference.stream import Result

_QUALITY = 92


class AnnotatedSink:
    """Writes the image of each result, with its format where the name says one, else as PNG. It can be sent to the
    processes that have the pixels.

    Nothing of a file but its pixels is copied: no EXIF, so no place and no camera.

    No file is ever replaced.

    Args:
        target: a folder; or, if the name ends as that of an image does, the file for the one image.
        root: the folder below which images keep their names in `target`; None keeps all of a path.
        images: how many there are.
        blur: make the faces that were found unrecognisable.
        marks: draw box and expression of each face.
        resume: go on in a folder that holds files.
    """

    def __init__(
        self, target: Path, *, root: Path | None, images: int, blur: bool, resume: bool, marks: bool = True
    ) -> None:
        """Raises FeropsError: `target` holds files already, is one file for several images, or lies in `root`."""
        self._target, self._root, self._blur, self._marks = target, root, blur, marks
        option = "--annotated" if marks else "--to"
        self._is_file = target.suffix.lower() in IMAGE_ENDINGS and not target.is_dir()
        if self._is_file:
            refuse_existing(target, resume=resume)
            if images > 1:
                raise FeropsError(f"{option} {target} names one file, but there are {images} images. Name a folder")
        elif target.exists() and not target.is_dir():
            raise FeropsError(f"{option} {target} is a file. Name a folder, or a file that ends as images do")
        elif not resume and target.is_dir() and any(target.iterdir()):
            raise FeropsError(f"{option} {target} holds files. Name another folder, or go on in it: --resume")
        if root is not None and target.resolve().is_relative_to(root.resolve()):
            raise FeropsError(f"{option} {target} lies in {root}, whose images are predicted. Name another folder")

    def holds(self, source: str) -> bool:
        return self.path(source).exists()

    def path(self, source: str) -> Path:
        """Return where the image `source` is drawn."""
        if self._is_file:
            return self._target
        if source == STDIN:
            return self._target / "stdin.png"
        place = Path(source).relative_to(self._root) if self._root else Path(source)
        # Nothing is written outside: a step up becomes a folder of its own
        parts = ["up" if part == ".." else part for part in place.parts if part != place.anchor]
        name = parts[-1] if place.suffix.lower() in IMAGE_ENDINGS else f"{parts[-1]}.png"
        return self._target.joinpath(*parts[:-1], name)

    def write(self, results: Sequence[Result]) -> None:
        """Draw each image that could be read. Raises FeropsError: there is no room, or no permission."""
        for result in results:
            path = self.path(result.source)
            if result.prediction is None or result.photo is None or path.exists():
                continue
            drawn = self._drawn(result.prediction, result.photo)
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as temporary:
                drawn.save(temporary, format=_format(path), quality=_QUALITY)

    def _drawn(self, prediction: Prediction, photo: ImageLike) -> Image:
        if self._marks:
            return prediction.draw(photo, blur=self._blur)
        pixels = turned(as_pixels(photo), prediction.rotation)
        return fromarray(blurred(pixels, [face.box for face in prediction.faces]) if self._blur else pixels)


def _format(path: Path) -> str:
    from PIL.Image import EXTENSION, init

    init()
    return EXTENSION[path.suffix.lower()]
