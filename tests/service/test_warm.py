"""The model served before stays loaded for a while."""

from __future__ import annotations

import asyncio

import pytest
from service.warm import Warm

import answers
from ferops.config import Params
from ferops.records.release import Release
from service import warm


class Idle:
    """Stands in for an engine."""

    def __init__(self) -> None:
        self.is_ready, self.stopped = True, False

    async def retire(self) -> None:
        self.stop()

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def releases(quick_params: Params) -> list[Release]:
    made = answers.release(quick_params.serve)
    return [made.model_copy(update={"tag": f"ferops:v{number}"}) for number in (1, 2, 3)]


def keep(kept: Warm, release: Release) -> Idle:
    engine = Idle()
    kept.keep(release, engine)  # type: ignore[arg-type] # it plays one
    return engine


def test_the_last_one_is_kept_and_taken_once(releases: list[Release]) -> None:
    async def play() -> None:
        kept = Warm()
        first = keep(kept, releases[0])
        assert kept.take(releases[1]) is None
        assert kept.take(releases[0]) is first
        assert kept.take(releases[0]) is None
        keep(kept, releases[0])
        second = keep(kept, releases[1])
        assert kept.take(releases[0]) is None  # of the last one alone
        other = releases[1].model_copy(update={"model_sha256": "0" * 64})
        assert kept.take(other) is None  # built anew, of other files
        second.is_ready = False
        assert kept.take(releases[1]) is None  # its worker has just died
        kept.drop()
        assert second.stopped
        assert not first.stopped

    asyncio.run(play())


def test_it_ends_after_a_while(releases: list[Release], monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        kept = Warm()
        taken = keep(kept, releases[0])
        assert kept.take(releases[0]) is taken
        replaced = keep(kept, releases[0])
        last = keep(kept, releases[1])
        await asyncio.sleep(0.05)
        assert (taken.stopped, replaced.stopped, last.stopped) == (False, True, True)
        assert kept.take(releases[1]) is None

    monkeypatch.setattr(warm, "FOR_S", 0.01)
    asyncio.run(play())
