"""POST /predict/batch: several images in a form, or in zips of it. Each gets an answer or a reason, in their order."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ferops.datasets.zips import Zip
from ferops.errors import FeropsError
from ferops.inference.several import BatchAnswer, BatchImage
from service.guard import FIELD, content, megapixels, missing
from service.query import refuse_any
from service.refusals import Refusal
from service.uploads import too_large

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from starlette.datastructures import FormData, QueryParams

    from ferops.config import Serve
    from ferops.inference.answer import Answer

    Predict = Callable[[bytes, str, float], Awaitable[Answer]]
    """From the bytes of an image, its client and its megapixels to its answer; raises Refusal alone."""

CURL = f"curl -F {FIELD}=@one.jpg -F {FIELD}=@two.jpg URL/predict/batch, or -F {FIELD}=@photos.zip"

AT_ONCE, AT_ONCE_PER_CLIENT = 4, 1
"""A batch is held in memory until it is answered."""
WITHIN_S = 120.0
"""For the answers: twice what the default of `serve.max_batch_images` takes on two busy cores."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without
_ENTRY = b"PK\x01\x02"
FILES_PER_IMAGE = 10
"""Folders, and what operating systems add, stand in a zip's directory, too; more would cost memory by the entry."""
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Item:
    """An image of a batch. `read` returns its bytes, and raises Refusal or FeropsError (a damaged zip)."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Batch:
    """A batch that may be looked at; `client` sent it. `left_out`: reason -> how many files of zips are no images."""

    items: tuple[Item, ...]
    client: str
    left_out: dict[str, int]


class Batches:
    """What `limits` let through. Zips are unpacked one image at a time, in memory."""

    def __init__(self, limits: Serve) -> None:
        self._max_images = limits.max_batch_images
        self._max_mb = limits.max_batch_mb
        self._max_bytes = int(limits.max_body_mb * 1e6)
        self._max_megapixels = limits.max_image_megapixels

    async def take(self, form: FormData, client: str, query: QueryParams) -> Batch:
        """Return the images of a form and of the zips in it. Raises Refusal: it holds none, or too much."""
        refuse_any(query)
        values = form.getlist(FIELD)
        if not values:
            raise missing(form, CURL)
        files = [(getattr(value, "filename", None) or "", content(value, CURL)) for value in values]
        return await self.of(files, client)

    async def of(self, files: Sequence[tuple[str, bytes]], client: str) -> Batch:
        """Return the images among files, and of the zips among them.

        Args:
            files: name, which may be empty, and content.

        Raises:
            Refusal: there are none, or too many, or too large ones.
        """
        items: list[Item] = []
        skipped: Counter[str] = Counter()
        unpacked = 0
        for number, (given, encoded) in enumerate(files, start=1):
            name = given or f"image {number}"
            if not encoded.startswith(_ZIP):
                items.append(Item(name, partial(self._whole, encoded)))
                continue
            archive = await asyncio.to_thread(self._opened, encoded, skipped)
            items += self._members(archive, name)
            unpacked += sum(map(archive.size, archive.names))
        if unpacked > self._max_mb * 1e6:
            raise Refusal(
                "body_too_large",
                f"The zip unpacks to {unpacked / 1e6:.0f} MB. Supported: up to {self._max_mb:g} MB. Send it in parts.",
            )
        if len(items) > self._max_images:
            raise Refusal(
                "too_many_files",
                f"The batch has {len(items)} files. Supported: up to {self._max_images}. Send it in parts.",
            )
        if not items:
            raise Refusal("empty_file", "There are no images. Send some, or a zip that holds some.")
        return Batch(tuple(items), client, dict(skipped))

    async def answer(self, batch: Batch, predict: Predict) -> BatchAnswer:
        """Return the answer of each image, or why it has none."""
        until_s = time.monotonic() + WITHIN_S
        images = [await self._answered(item, batch.client, predict, until_s=until_s) for item in batch.items]
        return BatchAnswer(
            images=tuple(images),
            images_found=len(images),
            images_answered=sum(image.answer is not None for image in images),
            left_out=batch.left_out,
            max_images=self._max_images,
            max_mb=self._max_mb,
        )

    async def _answered(self, item: Item, client: str, predict: Predict, *, until_s: float) -> BatchImage:
        name = item.name[:_LONGEST_NAME]
        try:
            encoded = await asyncio.to_thread(item.read)
            size = megapixels(encoded, at_most=self._max_megapixels)
            return BatchImage(name=name, answer=await _insist(partial(predict, encoded, client, size), until_s=until_s))
        except Refusal as refusal:
            return BatchImage(name=name, code=refusal.code, error=refusal.message)

    def _whole(self, encoded: bytes) -> bytes:
        if len(encoded) > self._max_bytes:
            raise too_large(self._max_bytes)
        return encoded

    def _opened(self, encoded: bytes, skipped: Counter[str]) -> Zip:
        if encoded.count(_ENTRY) > FILES_PER_IMAGE * self._max_images:
            raise Refusal(
                "too_many_files", f"The zip has far more files than {self._max_images}, which are supported. Split it."
            )
        try:
            return Zip(Path("The zip"), skipped=skipped, content=encoded)
        except FeropsError as error:
            raise _bad(error) from error

    def _members(self, archive: Zip, zip_name: str) -> Iterator[Item]:
        for name in archive.names:
            yield Item(f"{zip_name}/{name}", partial(self._unpacked, archive, name))

    def _unpacked(self, archive: Zip, name: str) -> bytes:
        if archive.size(name) > self._max_bytes:
            raise too_large(self._max_bytes)
        try:
            return archive.read(name)
        except FeropsError as error:
            raise _bad(error) from error


async def _insist(predict: Callable[[], Awaitable[Answer]], *, until_s: float) -> Answer:
    """Return the answer for an image; where it is refused for now, it comes again. Raises Refusal."""
    while time.monotonic() < until_s:
        try:
            return await predict()
        except Refusal as refusal:
            wait_s = refusal.retry_after_s
            if wait_s is None or time.monotonic() + wait_s > until_s:
                raise
        await asyncio.sleep(wait_s)
    raise Refusal("timeout", f"The batch took longer than {WITHIN_S:g} s. Send this image again.")


def _bad(error: FeropsError) -> Refusal:
    found = str(error).partition(". ")[0]  # the rest says what whoever imports a data set may do
    return Refusal("bad_zip", f"{found}. Make the zip anew, of images alone.")
