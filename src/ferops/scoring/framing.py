"""How an image becomes the face that a model is shown: as the model's own settings of `preprocess` say."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pandas as pd
from pydantic import ValidationError

from ferops.config import FaceRules, Preprocess
from ferops.datasets.images import UnreadableImageError, decode
from ferops.errors import FeropsError
from ferops.faces.detect import SMALL_PX
from ferops.faces.detection import Detector, Image
from ferops.faces.detectors import from_settings
from ferops.faces.process_pool import Work, extract_shards
from ferops.faces.shard import Encoded, Extracted, Shard, make_shards
from ferops.model_config import ExportConfig, ModelConfig
from ferops.records.base import problems
from ferops.validation.measure import pixel_hash

Asked = Literal["auto", "whole", "aligned"]
"""`auto`: as the model's settings say; `whole`: every image is its face; `aligned`: only faces that are found."""

_SHARD = 64  # images; how fast, not what comes out
_HELD, _HELD_BYTES = 256, 16_000_000  # encoded images that wait while they are dealt to tight and other shards

_OF_0_1 = {"detector": "mtcnn", "align": "eyes_nose", "tight": "whole", "min_face_px": 0.0, "no_face": "quarantine"}
"""What ferops 0.1 always did, and its models do not say."""

_OF_THE_MACHINE = set(Preprocess.model_fields) - set(FaceRules.model_fields)


def rules_of(config: ModelConfig, *, origin: str) -> FaceRules:
    """Return the rules that made the faces which a model was trained on, at the size that it takes.

    Raises:
        FeropsError: config.json does not hold them, or this version does not know one of its settings.
    """
    known = config.provenance.params.get("preprocess")
    if not isinstance(known, dict):
        raise FeropsError(
            f"{origin}: config.json does not say how the faces were made that the model was trained on (provenance: "
            "params: preprocess), so an image cannot be shown to it in the same way. Train it again"
        )
    known = {key: value for key, value in known.items() if key not in _OF_THE_MACHINE}
    if isinstance(config, ExportConfig):  # what is served counts
        known |= config.faces.model_dump()
    try:
        return FaceRules.model_validate(_OF_0_1 | known | {"size_px": config.size_px})
    except ValidationError as error:
        raise FeropsError(
            f"{origin}: config.json has settings of preprocess that this version of ferops does not understand: "
            f"{problems(error)}. Score it with the version that made it, {config.provenance.ferops_version}"
        ) from error


class Images(Protocol):
    """Images to make faces of: a `Table`, or others.

    Attributes:
        rows: one for each image, with `source`, and `class`: null where the image is to be left out.
    """

    @property
    def rows(self) -> pd.DataFrame: ...

    def images(self) -> Iterator[tuple[int, bytes]]:
        """Yield (row, encoded image) of the rows with a class, in order; empty bytes where there is none."""


@dataclass
class Framer:
    """Turns the images of a table into faces, and remembers what it saw of them.

    An image counts as a tight crop if its source is one of the model's `tight_sources`. It does not if it comes from
    another source that the model was trained on. If the model does not know the source, or the file names none, it
    counts as one if its longer side is at most SMALL_PX.

    Attributes:
        rules: those of the model, or what `asked` makes of them.
        pixels: row -> hash of its pixels, of the images that decode.
        undecodable: rows whose image does not.
    """

    rules: FaceRules
    asked: Asked
    trained_on: frozenset[str]
    pixels: dict[int, str] = field(default_factory=dict)
    undecodable: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, config: ModelConfig, asked: Asked, *, origin: str) -> Framer:
        """Raises FeropsError: see `rules_of`."""
        rules = rules_of(config, origin=origin)
        if asked == "aligned":
            rules = rules.model_copy(update={"no_face": "quarantine"})
        return cls(rules, asked, frozenset(config.provenance.sources))

    def faces(self, table: Images, detector: Detector | None) -> Generator[Extracted, None, None]:
        """Yield the faces of the rows with a class; `image_id` in the records is the row, as text.

        Args:
            detector: finds the faces, in this process alone; by default the model's, on all cores.
        """
        work = Work(self.rules, functools.partial(from_settings, self.rules, threads=1))
        workers: int | Literal["auto"] = 1 if self.asked == "whole" else "auto"
        if detector is not None:
            work, workers = Work(self.rules, lambda: detector), 1
        to_search = int(table.rows["class"].notna().sum())
        with closing(extract_shards(self._shards(table), work, workers=workers, to_search=to_search)) as results:
            yield from results

    def _shards(self, table: Images) -> Iterator[Shard]:
        held: dict[bool, list[Encoded]] = {True: [], False: []}
        size, sources = 0, table.rows["source"].tolist()
        for row, data in table.images():
            try:
                image = decode(data)
            except UnreadableImageError:
                self.undecodable.append(row)
                continue
            self.pixels[row] = pixel_hash(image)
            height, width = image.shape[:2]
            held[self._is_tight(sources[row], image)].append(Encoded(str(row), data, width, height))
            size += len(data)
            if size >= _HELD_BYTES or len(held[True]) + len(held[False]) >= _HELD:
                yield from self._deal(held)
                held, size = {True: [], False: []}, 0
        yield from self._deal(held)

    def _deal(self, held: dict[bool, list[Encoded]]) -> Iterator[Shard]:
        for tight, images in held.items():
            search = not tight or (self.rules.tight == "detect" and self.asked != "whole")
            yield from make_shards(images, tight=tight, search=search, at_most=_SHARD)

    def _is_tight(self, source: str | None, image: Image) -> bool:
        if self.asked != "auto":
            return self.asked == "whole"
        if source in self.rules.tight_sources:
            return True
        return source not in self.trained_on and max(image.shape[:2]) <= SMALL_PX
