"""What pack.py packs and session.py unpacks: the faces of a project with labels and votes, in one file."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mosaic
import numpy as np
from numpy.typing import NDArray

from ferops.training.faces import Faces, soft_targets

SPLITS = ("train", "val", "test")
FACES = "faces.zip"


@dataclass(frozen=True)
class Split:
    """Faces of one split in the order of the project's array, all grey.

    Attributes:
        images: uint8 `(N, S, S)`.
        labels: int64 `(N,)`.
        votes: annotators' votes for each class, uint8 `(N, K)`; 0 where there were none.
        sources: names, `(N,)`.
        copies: how many exact copies of each the validation took out, uint8 `(N,)`.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    votes: NDArray[np.uint8]
    sources: NDArray[np.str_]
    copies: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Any) -> Split:
        return Split(self.images[rows], self.labels[rows], self.votes[rows], self.sources[rows], self.copies[rows])

    def faces(self, size_px: int) -> Faces:
        """Return RGB faces of this size; their three channels share one memory."""
        images = mosaic.resized(self.images, size_px)
        return Faces(np.broadcast_to(images[..., None], (*images.shape, 3)), self.labels)

    def targets(self, classes: int, *, votes: float) -> NDArray[np.float32]:
        """Return what the loss learns, `(N, K)`, as `ferops.training.data.read_targets` does."""
        hard = np.eye(classes, dtype=np.float32)[self.labels]
        return soft_targets(hard, self.votes.astype(np.float32), votes=votes)


@dataclass(frozen=True)
class Pack:
    """`about`: `classes`, `photographs` (the name of that source), `provenance` and `size_px` of the project."""

    splits: dict[str, Split]
    about: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.about["classes"])


def write(path: Path, pack: Pack, *, small: dict[str, NDArray[np.bool_]], small_px: int, quality: int) -> None:
    """Write the pack; faces that are `small` in their image, by split `(N,)`, are stored with fewer pixels."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        sizes = {"small": small_px, "large": int(pack.about["size_px"])}
        archive.writestr("about.json", json.dumps({**pack.about, "stored_px": sizes}))
        for name, split in pack.splits.items():
            columns = {"labels": split.labels.astype(np.uint8), "votes": split.votes, "copies": split.copies}
            for column, values in {**columns, "small": small[name], "sources": split.sources}.items():
                with archive.open(f"{name}/{column}.npy", "w") as file:
                    np.lib.format.write_array(file, values, allow_pickle=False)
            for kind, chosen in (("small", small[name]), ("large", ~small[name])):
                stored = mosaic.resized(split.images[chosen], sizes[kind])
                for number, encoded in enumerate(mosaic.encode(stored, quality=quality)):
                    archive.writestr(f"{name}/{kind}-{number}.webp", encoded)


def read(path: Path, *, most: int | None = None) -> Pack:
    """Read what `write` wrote, `most` faces of each split at most. Every face gets the project's size again."""
    with zipfile.ZipFile(path) as archive:
        about = json.loads(archive.read("about.json"))
        return Pack({name: _split(archive, name, about)[:most] for name in SPLITS}, about)


def _split(archive: zipfile.ZipFile, name: str, about: dict[str, Any]) -> Split:
    def column(which: str) -> NDArray[Any]:
        with archive.open(f"{name}/{which}.npy") as file:
            values: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return values

    small = column("small")
    images = np.empty((len(small), about["size_px"], about["size_px"]), np.uint8)
    for kind, chosen in (("small", small), ("large", ~small)):
        files = sorted(
            (file for file in archive.namelist() if file.startswith(f"{name}/{kind}-")),
            key=lambda file: int(Path(file).stem.partition("-")[2]),
        )
        stored = mosaic.decode(
            [archive.read(file) for file in files], count=int(chosen.sum()), side=about["stored_px"][kind]
        )
        images[chosen] = mosaic.resized(stored, about["size_px"])
    return Split(images, column("labels").astype(np.int64), column("votes"), column("sources"), column("copies"))
