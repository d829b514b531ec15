"""`ferops serve --follow`: a Bento that is packaged while the service runs replaces the model without a pause.

The worker of the new Bento is loaded beside that of the old one; from then on it gets the images that wait, and the old
one ends when it has answered what it works on. The server, its connections and its queue stay. So do its code and its
limits: a Bento with other code is not used, since what was judged would not be what is served.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ferops.monitoring.traffic import KEY_VARIABLE
from ferops.records.release import Release

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POINTER = "FEROPS_FOLLOW"
"""The environment variable that holds the path of bentoml/serving.json, which names the Bento packaged last."""

EVERY_S = 1.0

log = logging.getLogger("bentoml.ferops")


class Follower:
    """Looks at the pointer, and swaps.

    Args:
        pointer: bentoml/serving.json; it may not exist yet.
        source: the folder `src` of the Bento that is served now.
        tag: of that Bento.
        swap: gets the folder of the new model and its release; raises whatever goes wrong, and then nothing changes.
    """

    def __init__(
        self, pointer: Path, *, source: Path, tag: str, swap: Callable[[Path, Release], Awaitable[None]]
    ) -> None:
        self._pointer = pointer
        self.code = code_of(source)
        self.tag = tag
        self._swap = swap
        self._seen: object = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Swap if the pointer has been written since the last look, and names another Bento."""
        try:
            seen = self._pointer.stat().st_mtime_ns
            tag = str(json.loads(self._pointer.read_text(encoding="utf-8"))["tag"])
        except (OSError, ValueError, KeyError):
            return  # no champion, or `ferops package` has not said yet which
        if tag == self.tag or seen == self._seen:
            return
        self._seen = seen
        try:
            await self._swap(*await opened(self._pointer.parent, tag, code=self.code))
        except OtherCodeError as error:
            log.error("still serving %s: %s. Start ferops serve anew to serve it", self.tag, error)  # noqa: TRY400
        except Exception:
            log.exception("still serving %s: %s cannot be loaded", self.tag, tag)
        else:
            log.info("serving %s from now on, in place of %s", tag, self.tag)
            self.tag = tag


class OtherCodeError(Exception):
    """A Bento has other code than the running one."""


async def opened(home: Path, tag: str, *, code: str) -> tuple[Path, Release]:
    """Return the folder of a Bento's model, and its release.

    Args:
        home: BentoML's, which holds all Bentos.
        tag: of the Bento.
        code: `code_of` the one that runs.

    Raises:
        OtherCodeError: it has other code.
        FeropsError: it is not there.
    """
    name, _, version = tag.partition(":")
    source = home / "bentos" / name / version / "src"
    release = Release.read(source / "service" / "release.json", made_by="ferops package")
    if await asyncio.to_thread(code_of, source) != code:
        raise OtherCodeError(f"{tag} has other code")
    return source / "model", release


def code_of(source: Path) -> str:
    """Return a digest of all that a Bento's folder `src` holds besides the model and its release."""
    digest = hashlib.sha256()
    for folder in ("ferops", "service"):
        for file in sorted((source / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and file.name != "release.json":
                digest.update(f"{file.relative_to(source)}\0{file.stat().st_size}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def key() -> bytes:
    """Return the key by which a canary's clients are chosen; `ferops serve --follow` names its file."""
    return Path(os.environ[KEY_VARIABLE]).read_bytes()


def pointer() -> Path | None:
    """Return the file to follow; None without `--follow`."""
    named = os.environ.get(POINTER)
    return Path(named) if named else None
