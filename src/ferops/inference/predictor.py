"""The Predictor turns images into faces and probabilities; nothing else does.

Service, CLI, scoring and the end-to-end evaluation call it. It detects and crops with the functions that made the
training faces, and runs the exported file that was evaluated. The preprocess stage differs in two ways: it keeps some
images without a detected face whole (`preprocess.tight_sources`, `no_face: keep`), and it holds small faces back
(`min_face_px`). The Predictor finds no face in the former and classifies the latter.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from ferops.config import Tta
from ferops.export.conformal import label_sets
from ferops.export.runtime import Classifier
from ferops.faces.align import is_upright
from ferops.faces.crop import FaceCrop, crop_faces
from ferops.faces.detection import Detector
from ferops.faces.detectors import build, quickest
from ferops.faces.photo import Photo
from ferops.faces.quality import brightness_and_sharpness
from ferops.inference.inputs import ImageLike, as_photo
from ferops.inference.occlusion import heat_of
from ferops.inference.prediction import Face, Prediction
from ferops.inference.upright import find_upright
from ferops.layout import Layout
from ferops.model_config import ExportConfig

Several: TypeAlias = list[Any] | tuple[Any, ...] | Iterator[Any]
"""Of ImageLike; typed loosely, because a list of arrays is no list of what may be arrays."""

BATCH = 16
"""Images together: their faces go through the network in one pass. Detection goes image by image in any case."""


class Runtime(Protocol):
    """A classifier of faces: `ferops.export.runtime.Classifier`, or another implementation."""

    @property
    def config(self) -> ExportConfig: ...

    @property
    def tta(self) -> Tta: ...

    def probabilities(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return calibrated probabilities `(N, K)` of aligned faces, uint8 `(N, S, S, 3)`."""


class Predictor:
    """Detector, alignment and classifier of one exported model.

    Thread-safe: detector and classifier take one call at a time, each on all `threads`.

    Examples:
        >>> predictor = Predictor.load("starter")
        >>> for face in predictor.predict("photo.jpg").faces:
        ...     print(face.label, face.confidence, face.box)

    Args:
        folder: the output of the export stage (artifacts/export), or a copy of it.
        detector: by default the one that made the training faces, or a quicker one that finds the same
            (`ferops.faces.detectors.QUICK`), with the same `min_confidence`.
        classifier: by default the `served` file of `folder`.
        threads: CPU threads of detector and classifier; None for those of `ferops.threads`.

    Raises:
        FeropsError: `folder` holds no exported model, or the detector's weights are not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        detector: Detector | None = None,
        classifier: Runtime | None = None,
        threads: int | None = None,
    ) -> None:
        self._classifier = classifier or Classifier(folder, threads=threads)
        self.config: ExportConfig = self._classifier.config
        faces = self.config.faces
        self._detector = detector or build(
            quickest(faces.detector), min_confidence=faces.min_confidence, threads=threads
        )
        self._detecting = threading.Lock()

    @classmethod
    def load(cls, model: str | os.PathLike[str] | None = None) -> Predictor:
        """Return the Predictor of a model.

        Args:
            model: `starter`, a folder or file of a model, or a version of the registry (`models:/ferops@champion`);
                None for the champion, or the starter until there is one. Starter and registry are those of the project
                around the working folder.

        Raises:
            FeropsError: there is no such model, a file is damaged, or the files do not fit each other.
        """
        # By name: the service has its one model in a folder, and needs neither registry nor starter
        opened = resolve_name("ferops.scoring.opening:opened")
        with opened(Layout.find(or_here=True), None if model is None else os.fspath(model)) as ready:
            predictor: Predictor = ready.predictor
        return predictor

    @overload
    def predict(
        self, images: ImageLike, *, bgr: bool = ..., max_faces: int | None = ..., crops: bool = ..., explain: bool = ...
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        images: Several,
        *,
        bgr: bool = ...,
        max_faces: int | None = ...,
        crops: bool = ...,
        explain: bool = ...,
        batch: int = ...,
    ) -> list[Prediction]: ...

    def predict(
        self,
        images: ImageLike | Several,
        *,
        bgr: bool = False,
        max_faces: int | None = None,
        crops: bool = False,
        explain: bool = False,
        batch: int = BATCH,
    ) -> Prediction | list[Prediction]:
        """Return the Prediction of an image, or of several a list in their order.

        Args:
            images: an array, RGB `(H, W, 3)`, RGBA `(H, W, 4)` or grey `(H, W)`, uint8 or floats of 0-1; an image of
                Pillow; the path of an image file; or its bytes. Or several of these: a list, a tuple or an iterator.
                Files and images of Pillow are turned upright by their EXIF; where no face is found then, an image on
                its side or upside down is turned until one is (`Prediction.rotation`).
            bgr: arrays have their channels in the order of OpenCV.
            max_faces: keep at most this many faces per image, preferred ones first; None keeps all.
            crops: keep each face's aligned pixels (`Face.crop`).
            explain: ask what in each face spoke for its label (`Face.heat`), which takes 50 passes of the network a
                face; keeps the crops as well.
            batch: images that are decoded and answered together; more take more memory.

        Raises:
            TypeError, ValueError: an image is something else, or damaged; the message says what was found.
            OSError: a file cannot be read.
        """
        if not isinstance(images, list | tuple | Iterator):
            return self._predict([as_photo(images, bgr=bgr)], max_faces, crops=crops, explain=explain)[0]
        each = iter(images)
        answers: list[Prediction] = []
        while photos := [as_photo(image, bgr=bgr) for image in islice(each, batch)]:
            answers += self._predict(photos, max_faces, crops=crops, explain=explain)
        return answers

    def explain(self, face: Face) -> Face:
        """Return the face with its `heat`; it must have its `crop`."""
        assert face.crop is not None
        return replace(face, heat=heat_of(self.classify, face.crop, self.config.classes.index(face.label)))

    def _predict(
        self, images: Sequence[Photo], max_faces: int | None, *, crops: bool, explain: bool
    ) -> list[Prediction]:
        with self._detecting:
            found = find_upright(self._detector, images)
        cropped = [crop_faces(photo, detections, self.config.faces) for photo, detections in found]
        kept = [faces[:max_faces] for faces in cropped]
        pixels = [face.pixels for faces in kept for face in faces]
        # All faces of all images together: (N, S, S, 3) -> (N, K)
        rows = iter(self.classify(np.stack(pixels)) if pixels else ())
        return [
            Prediction(
                faces=tuple(self._face(face, next(rows), crops=crops, explain=explain) for face in faces),
                classes=self.config.classes,
                width=photo.width,
                height=photo.height,
                left_out=len(all_faces) - len(faces),
                rotation=photo.rotation,
            )
            for (photo, _), faces, all_faces in zip(found, kept, cropped, strict=True)
        ]

    def _face(self, crop: FaceCrop, probabilities: NDArray[np.float32], *, crops: bool, explain: bool) -> Face:
        face = self.face(crop, probabilities)
        if crops or explain:
            face = replace(face, crop=crop.pixels)
        return self.explain(face) if explain else face

    def classify(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return calibrated probabilities float32 `(N, K)` of RGB uint8 faces `(N, S, S, 3)`, S `config.size_px`.

        Columns are in the order of `config.classes`; rows sum to 1.
        """
        return self._classifier.probabilities(faces)

    def face(self, crop: FaceCrop, probabilities: NDArray[np.float32]) -> Face:
        """Return the answer for the face that `crop` has cut out, given its probabilities, float32 `(K,)`."""
        assert crop.detection is not None  # only images kept whole have no detection
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        sure = confidence >= self.config.low_confidence
        x1, y1, x2, y2 = (float(side) for side in crop.detection.box)
        brightness, sharpness = brightness_and_sharpness(crop.pixels)
        return Face(
            box=(x1, y1, x2, y2),
            landmarks=crop.detection.landmarks,
            probabilities=probabilities,
            label=self.config.classes[best],
            confidence=confidence,
            status="ok" if sure and is_upright(crop.detection.landmarks) else "low_confidence",
            detection_score=crop.detection.score,
            brightness=brightness,
            sharpness=sharpness,
            set=self._set(probabilities),
        )

    def _set(self, probabilities: NDArray[np.float32]) -> tuple[str, ...] | None:
        if self.config.set_threshold is None:
            return None
        (inside,) = label_sets(probabilities[None], self.config.set_threshold)
        order = np.argsort(-probabilities, kind="stable")
        return tuple(self.config.classes[index] for index in order if inside[index])
