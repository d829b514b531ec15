"""`ferops serve --follow`: shadow and canary begin and end as bentoml/beside.json says (`ferops package` writes it)."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from ferops.errors import FeropsError
from ferops.records.rollout import Beside, CanaryEnd
from service.canary import Canary, Running
from service.follow import EVERY_S, OtherCodeError, opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from ferops.records.release import Release
    from ferops.records.rollout import Held, Reason
    from service.shadow import Shadow
    from service.workers import Workers

    Role = Literal["shadow", "canary"]
    Start = Callable[[Role, Path, Release], Awaitable[Workers[Any, Any]]]

FILE, ENDED = "beside.json", "canary-ended.json"

log = logging.getLogger("bentoml.ferops")


class Companions:
    """Looks at beside.json, and begins and ends what it names.

    Args:
        home: of BentoML, where the file lies.
        code: `service.follow.code_of` the Bento that runs.
        champion: returns the tag of the Bento that serves.
        start: returns the workers of a model, started; raises whatever goes wrong.
        key: by which a canary's clients are chosen.
    """

    def __init__(
        self, home: Path, *, code: str, champion: Callable[[], str], start: Start, shadow: Shadow, key: bytes
    ) -> None:
        self._home = home
        self._code = code
        self._champion = champion
        self._start = start
        self.shadow = shadow
        self.canary: Canary | None = None
        self._key = key
        self._running: dict[Role, str] = {}
        self._seen: object = None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Begin and end what beside.json says, if it has been written since the last look."""
        file = self._home / FILE
        try:
            seen = file.stat().st_mtime_ns
            if seen == self._seen:
                return
            beside = Beside.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            self._end("shadow")
            self._end("canary")
            self._seen = None
            return
        except (OSError, ValueError):
            log.exception("%s cannot be used", file)
            return
        self._seen = seen
        if self.canary is None:
            self.canary = Canary(key=self._key, rules=beside.rules, on_end=self._ended)
        self.canary.rules = beside.rules
        is_ended = beside.canary is not None and beside.canary.tag == self._ended_tag()
        roles: dict[Role, Held | None] = {"shadow": beside.shadow, "canary": None if is_ended else beside.canary}
        changed = [role for role, held in roles.items() if (held.tag if held else None) != self._running.get(role)]
        for role in changed:  # first: the other may take long to begin
            self._end(role)
        for role in changed:
            await self._try(role, roles[role])

    def stop(self) -> None:
        """End the workers at once."""
        self.shadow.stop()
        if self.canary is not None:
            self.canary.stop()

    async def _try(self, role: Role, held: Held | None) -> None:
        if held is None or (tag := held.tag) is None:
            return
        try:
            workers = await self._start(role, *await opened(self._home, tag, code=self._code))
        except OtherCodeError as error:
            log.error("no %s: %s. Start ferops serve anew to run it", role, error)  # noqa: TRY400 # it says it all
        except Exception as error:
            log.exception("no %s: %s cannot be loaded", role, tag)
            if role == "canary":
                self._write_end(tag, held.version, "errors", f"it cannot be loaded: {error}", images=0)
        else:
            self._begin(role, tag, held.version, workers)
            log.info("%s beside the champion from now on: %s", role, tag)

    def _begin(self, role: Role, tag: str, version: str, workers: Workers[Any, Any]) -> None:
        self._running[role] = tag
        if role == "shadow":
            self.shadow.begin(version, workers)
        else:
            assert self.canary is not None  # `look` has made it
            self.canary.begin(Running(tag, version, workers))

    def _end(self, role: Role) -> None:
        if (tag := self._running.pop(role, None)) is None:
            return
        log.info("no %s any more: %s", role, tag)
        if role == "shadow":
            self.shadow.end()
        elif self.canary is not None:
            self.canary.end()

    def _ended(self, running: Running, reason: Reason, said: str) -> None:
        self._running.pop("canary", None)
        self._write_end(running.tag, running.version, reason, said, images=running.figures.canary.images)

    def _write_end(self, tag: str, version: str, reason: Reason, said: str, *, images: int) -> None:
        """Tell `ferops serve --follow`, which tells the registry; while the file is there the canary does not begin."""
        end = CanaryEnd(
            tag=tag,
            version=version,
            champion=self._champion(),
            reason=reason,
            said=said,
            images=images,
            at=datetime.now(UTC),
        )
        try:
            end.write(self._home / ENDED)
        except FeropsError:
            log.exception("the end of the canary %s cannot be noted in %s: take its alias away", tag, self._home)

    def _ended_tag(self) -> str | None:
        try:
            return str(json.loads((self._home / ENDED).read_bytes())["tag"])
        except (OSError, ValueError, KeyError):
            return None
