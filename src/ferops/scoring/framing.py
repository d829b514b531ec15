"""How a picture becomes the face that a model is asked about: as the model's own settings of `preprocess` say."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ValidationError

from ferops.config import Preprocess
from ferops.datasets.images import UnreadableImageError, decode
from ferops.errors import FeropsError
from ferops.faces.detect import SMALL_PX
from ferops.faces.detection import Detection, Detector, Image
from ferops.faces.detectors import from_settings
from ferops.faces.process_pool import Work, extract_shards
from ferops.faces.shard import Encoded, Extracted, Shard, extract, make_shards
from ferops.model_config import ExportConfig, ModelConfig
from ferops.scoring.table import Table
from ferops.validation.measure import pixel_hash

Asked = Literal["auto", "whole", "aligned"]
"""`auto`: as the model's settings say; `whole`: every picture is its face; `aligned`: only faces that are found."""

_HELD, _HELD_BYTES = 256, 16_000_000  # encoded pictures that wait while they are dealt to tight and other shards

_OF_0_1 = {"detector": "mtcnn", "align": "eyes_nose", "tight": "whole", "min_face_px": 0.0, "no_face": "quarantine"}
"""What ferops 0.1 always did, and its models do not say."""

_HERE = {"batch_size": 64, "workers": "auto", "runner": "local", "dask_address": None}
"""Where and how fast: a matter of this machine, not of the model."""


def settings_of(config: ModelConfig, *, origin: str) -> Preprocess:
    """Return the settings of `preprocess` that made the faces a model learnt from, at the size that it takes.

    Raises:
        FeropsError: config.json does not hold them, or not such that this version understands.
    """
    told = config.provenance.params.get("preprocess")
    if not isinstance(told, dict):
        raise FeropsError(
            f"{origin}: config.json does not say how the faces were made that the model learnt from "
            "(provenance: params: preprocess), so no picture can be shown to it in the same way. Train it again"
        )
    if isinstance(config, ExportConfig):  # what is served counts
        told = told | {key: getattr(config, key) for key in ("detector", "min_confidence", "margin", "choose", "align")}
    try:
        return Preprocess.model_validate(_OF_0_1 | told | _HERE | {"size_px": config.size_px})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
        raise FeropsError(
            f"{origin}: config.json has settings of preprocess that this version of ferops does not understand: "
            f"{problems}. Score it with the version that made it, {config.provenance.ferops_version}"
        ) from error


@dataclass
class Framer:
    """Turns the pictures of a table into faces, and remembers what it saw of them.

    A row counts as a tight crop if its source is one of the model's `tight_sources`; as none if it is another source
    that the model was trained on; and where its source is unknown to the model, or the file names none, if its longest
    side is at most SMALL_PX.

    Attributes:
        settings: those of the model, or what `asked` makes of them.
        pixels: row -> hash of its pixels, of those that decode.
        undecodable: rows that do not.
    """

    settings: Preprocess
    asked: Asked
    trained_on: frozenset[str]
    pixels: dict[int, str] = field(default_factory=dict)
    undecodable: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, config: ModelConfig, asked: Asked, *, origin: str) -> Framer:
        """Raises FeropsError: see `settings_of`."""
        settings = settings_of(config, origin=origin)
        if asked == "aligned":
            settings = settings.model_copy(update={"no_face": "quarantine"})
        return cls(settings, asked, frozenset(config.provenance.sources))

    def faces(self, table: Table, detector: Detector | None) -> Generator[Extracted, None, None]:
        """Yield the faces of the rows with a class; `image_id` in the records is the row, as text.

        Args:
            detector: finds the faces, in this process alone; by default the model's, on all cores.
        """
        if self.asked == "whole":
            yield from (extract(shard, self.settings, _Blind()) for shard in self._shards(table))
            return
        work, workers = (
            Work(self.settings, functools.partial(from_settings, self.settings, threads=1)),
            self.settings.workers,
        )
        if detector is not None:
            work, workers = Work(self.settings, lambda: detector), 1
        to_search = int(table.rows["class"].notna().sum())
        with closing(extract_shards(self._shards(table), work, workers=workers, to_search=to_search)) as results:
            yield from results

    def _shards(self, table: Table) -> Iterator[Shard]:
        held: dict[bool, list[Encoded]] = {True: [], False: []}
        size, sources = 0, table.rows["source"].tolist()
        for row, data in table.pictures():
            try:
                image = decode(data)
            except UnreadableImageError:
                self.undecodable.append(row)
                continue
            self.pixels[row] = pixel_hash(image)
            height, width = image.shape[:2]
            tight = self._is_tight(sources[row], image)
            held[tight].append(Encoded(str(row), data, width, height))
            size += len(data)
            if size >= _HELD_BYTES or len(held[True]) + len(held[False]) >= _HELD:
                yield from self._cut(held)
                held, size = {True: [], False: []}, 0
        yield from self._cut(held)

    def _cut(self, held: dict[bool, list[Encoded]]) -> Iterator[Shard]:
        for tight, images in held.items():
            search = not tight or (self.settings.tight == "detect" and self.asked != "whole")
            yield from make_shards(images, tight=tight, search=search, at_most=self.settings.batch_size)

    def _is_tight(self, source: str | None, image: Image) -> bool:
        if self.asked != "auto":
            return self.asked == "whole"
        if source in self.settings.tight_sources:
            return True
        return source not in self.trained_on and max(image.shape[:2]) <= SMALL_PX


class _Blind:
    """Finds nothing: for shards in which no face is looked for."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        return [[] for _ in images]
