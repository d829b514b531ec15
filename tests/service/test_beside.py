"""Shadow and canary beside the champion: who answers, what a failing one costs, when a canary ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from service.beside import ENDED, FILE, Companions
from service.canary import CANARY, CHAMPION, Canary, Running
from service.follow import code_of
from service.refusals import Refusal
from service.shadow import MAX_WAITING, Shadow
from service.waiting import Queue

import answers
from ferops.config import Canary as Rules
from ferops.config import Params
from ferops.datasets.images import UnreadableImageError
from ferops.inference.answer import Answer, answer
from ferops.records.release import Release
from ferops.records.rollout import Beside, CanaryEnd, Held
from ferops.rollout.shadow import PairRow

RULES = Rules(share=0.5, min_images=20, max_error_share=0.05, max_latency_ratio=50.0, max_confidence_drop=0.1)
KEY = b"k" * 32
WHEN = datetime(2026, 11, 29, tzinfo=UTC)


class Worker:
    """Answers as a version would, in the place of an `Engine`."""

    def __init__(self, params: Params, version: str, *, confidence: float = 0.8) -> None:
        self.version, self.confidence = version, confidence
        self.is_ready, self.ended = True, False
        self.fails: Exception | None = None
        self.asked = 0
        self._limits = params.serve

    async def run(self, _job: object) -> tuple[Answer, list[dict[str, float]]]:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        release = answers.release(self._limits).model_copy(update={"model_version": self.version})
        found = answers.prediction(answers.face(confidence=self.confidence))
        return answer(found, release=release, first_frame_only=False, timing_ms={"predict": 5.0}), [{}]

    async def retire(self) -> None:
        self.stop()

    def stop(self) -> None:
        self.ended = True


class Scene:
    """A champion 3 and a canary 4; `ended` are the reasons that `on_end` got."""

    def __init__(self, params: Params) -> None:
        self.champion, self.worker = Worker(params, "3"), Worker(params, "4")
        self.ended: list[str] = []
        self.canary = Canary(key=KEY, rules=RULES, on_end=lambda _, reason, __: self.ended.append(reason))
        self.canary.begin(Running("ferops:v4", "4", self.worker))  # type: ignore[arg-type] # it plays one

    async def ask(self, client: str) -> tuple[str, str]:
        found, _, role = await self.canary.run(object, client=client, megapixels=1, champion=self.champion)  # type: ignore[arg-type]
        return found.model_version, role


def clients(n: int) -> list[str]:
    return [f"10.0.0.{number}" for number in range(n)]


def test_a_client_stays_with_one_version(quick_params: Params) -> None:
    async def play() -> None:
        scene = Scene(quick_params)
        first = {client: await scene.ask(client) for client in clients(40)}
        assert set(first.values()) == {("3", CHAMPION), ("4", CANARY)}
        assert {client: await scene.ask(client) for client in clients(40)} == first
        assert scene.ended == []
        scene.canary.end()
        assert {await scene.ask(client) for client in clients(40)} == {("3", CHAMPION)}
        await asyncio.sleep(0)
        assert scene.worker.ended

    asyncio.run(play())


def test_a_canary_that_fails_costs_nobody_an_answer_and_ends(quick_params: Params) -> None:
    async def play() -> None:
        scene = Scene(quick_params)
        scene.worker.fails = Refusal("crashed", "The image ended the worker twice.")
        assert {await scene.ask(client) for client in clients(40)} == {("3", CHAMPION)}
        assert scene.ended == ["errors"]
        assert scene.worker.asked == 2  # one of 20 images may fail

    asyncio.run(play())


def test_a_canary_whose_worker_starts_again_is_waited_for_by_nobody(quick_params: Params) -> None:
    async def play() -> None:
        scene = Scene(quick_params)
        scene.worker.is_ready = False
        assert {await scene.ask(client) for client in clients(40)} == {("3", CHAMPION)}
        assert (scene.ended, scene.worker.asked) == (["errors"], 0)

    asyncio.run(play())


def test_an_image_that_nobody_can_answer_is_no_error_of_the_canary(quick_params: Params) -> None:
    async def play() -> None:
        scene = Scene(quick_params)
        for fault in (UnreadableImageError("it is cut off"), Refusal("crashed", "It ended the worker twice.")):
            scene.worker.fails = scene.champion.fails = fault
            for client in clients(40):
                with pytest.raises(type(fault)):
                    await scene.ask(client)
        assert scene.ended == []

    asyncio.run(play())


def test_an_unsure_canary_ends_and_figures_begin_anew_with_another_champion(quick_params: Params) -> None:
    async def play() -> None:
        scene = Scene(quick_params)
        scene.worker.confidence = 0.6
        for client in clients(30):
            await scene.ask(client)
        scene.canary.begin_anew()
        for client in clients(30):
            await scene.ask(client)
        assert scene.ended == []  # fewer than 20 of either since then
        for client in clients(60):
            await scene.ask(client)
        assert scene.ended == ["confidence"]

    asyncio.run(play())


class Desk:
    """A shadow whose rows are kept, beside a service that is busy until `idle` is set."""

    def __init__(self, params: Params) -> None:
        self.idle = asyncio.Event()
        self.rows: list[PairRow] = []
        self.champion, self.worker = Worker(params, "3"), Worker(params, "4", confidence=0.7)
        self.shadow = Shadow(idle=self._idle, pairs=self)  # type: ignore[arg-type] # it plays a log

    async def _idle(self) -> None:
        await self.idle.wait()

    def add(self, rows: list[PairRow]) -> None:
        self.rows += rows

    async def offer(self, n: int) -> None:
        for _ in range(n):
            found, _ = await self.champion.run(None)
            self.shadow.offer(b"image", found, path="/predict", time=WHEN)

    def outcomes(self) -> list[str]:
        return [row.outcome for row in self.rows]


def test_a_shadow_works_when_nobody_waits_and_what_is_too_much_is_counted(quick_params: Params) -> None:
    async def play() -> None:
        desk = Desk(quick_params)
        await desk.offer(3)
        assert desk.rows == []  # no version is the shadow
        desk.shadow.begin("4", desk.worker)  # type: ignore[arg-type]
        await desk.offer(MAX_WAITING + 3)
        await asyncio.sleep(0.05)
        assert desk.outcomes() == ["dropped"] * 3
        assert desk.worker.asked == 0
        desk.idle.set()
        await asyncio.sleep(0.05)
        assert desk.outcomes()[3:] == ["compared"] * MAX_WAITING
        assert (desk.rows[-1].champion_version, desk.rows[-1].shadow_version) == ("3", "4")
        desk.worker.fails = Refusal("failed", "It could not.")
        await desk.offer(1)
        await asyncio.sleep(0.05)
        assert desk.outcomes()[-1] == "failed"
        desk.shadow.end()
        assert desk.worker.ended

    asyncio.run(play())


def test_the_queue_is_idle_when_all_is_answered() -> None:
    async def play() -> None:
        may_go = asyncio.Event()

        async def work(_job: int) -> int:
            await may_go.wait()
            return 1

        queue = Queue(work, max_waiting=9, max_wait_s=9, max_wait_s_per_client=9, timeout_s=9)
        await asyncio.wait_for(queue.idle(), 1)
        asking = [asyncio.ensure_future(queue.answer(0, client="c", megapixels=0)) for _ in range(2)]
        await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(queue.idle())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        may_go.set()
        assert await asyncio.gather(*asking) == [1, 1]
        await asyncio.wait_for(waiting, 1)

    asyncio.run(play())


class Home:
    """Folders of Bentos v3 and v4 and a beside.json; `started` are those that were started."""

    def __init__(self, home: Path, params: Params) -> None:
        self.home = home
        self.params = params
        self.started: list[tuple[str, str]] = []
        self.fails = False
        for version in ("3", "4"):
            source = home / "bentos" / "ferops" / f"v{version}" / "src"
            (source / "service").mkdir(parents=True)
            (source / "ferops").mkdir()
            (source / "ferops" / "a.py").write_text("A = 1")
            changed = {"model_version": version, "tag": f"ferops:v{version}"}
            answers.release(params.serve).model_copy(update=changed).write(source / "service" / "release.json")
        self.companions = Companions(
            home,
            code=code_of(home / "bentos" / "ferops" / "v3" / "src"),
            champion=lambda: "ferops:v2",
            start=self.start,  # type: ignore[arg-type] # it plays one
            shadow=Desk(params).shadow,
            key=KEY,
        )

    async def start(self, role: str, model: Path, release: Release) -> Worker:
        assert model.parts[-3:] == (f"v{release.model_version}", "src", "model")
        self.started.append((role, release.model_version))
        if self.fails:
            raise ValueError("no memory")
        return Worker(self.params, release.model_version)

    async def look(self, *, shadow: str | None = None, canary: str | None = None, rules: Rules = RULES) -> None:
        def held(version: str | None) -> Held | None:
            return Held(version=version, tag=f"ferops:v{version}") if version else None

        Beside(shadow=held(shadow), canary=held(canary), rules=rules).write(self.home / FILE)
        await self.companions.look()

    @property
    def canary(self) -> Canary:
        assert self.companions.canary is not None
        return self.companions.canary


@pytest.fixture
def home(tmp_path: Path, quick_params: Params) -> Home:
    return Home(tmp_path, quick_params)


def played(play: Callable[[], Any]) -> None:
    asyncio.run(play())


def test_companions_begin_change_and_end_as_the_file_says(home: Home) -> None:
    async def play() -> None:
        await home.companions.look()  # no file yet
        await home.look(shadow="3", canary="4")
        assert home.started == [("shadow", "3"), ("canary", "4")]
        running = home.canary.running
        more = RULES.model_copy(update={"share": 0.9})
        await home.look(shadow="3", canary="4", rules=more)  # a larger share, and the same canary goes on
        assert (home.canary.rules, home.canary.running, len(home.started)) == (more, running, 2)
        await home.look(canary="3")
        assert home.started[2:] == [("canary", "3")]
        assert home.canary.running is not running
        (home.home / FILE).unlink()
        await home.companions.look()
        assert home.canary.running is None

    played(play)


def test_a_canary_that_has_ended_does_not_begin_again_until_the_registry_knows(home: Home) -> None:
    async def play() -> None:
        await home.look(canary="4")
        running = home.canary.running
        assert running is not None
        running.figures.errors = 5
        home.canary._judge(running)
        assert home.canary.running is None
        end = CanaryEnd.read(home.home / ENDED, made_by="")
        assert (end.tag, end.version, end.reason, end.champion) == ("ferops:v4", "4", "errors", "ferops:v2")
        assert "it failed to answer 5 of 5 images" in end.said
        await home.look(canary="4")  # the registry has not been told yet
        assert home.canary.running is None
        await home.look(canary="3")
        assert home.canary.running is not None
        (home.home / ENDED).unlink()
        await home.look(canary="4")
        assert home.canary.running.version == "4"

    played(play)


def test_a_canary_that_cannot_be_loaded_ends_and_one_of_other_code_waits(home: Home) -> None:
    async def play() -> None:
        home.fails = True
        await home.look(canary="4", shadow="3")
        assert "it cannot be loaded: no memory" in CanaryEnd.read(home.home / ENDED, made_by="").said
        (home.home / ENDED).unlink()
        (home.home / "bentos" / "ferops" / "v4" / "src" / "ferops" / "a.py").write_text("A = 2")
        await home.look(canary="4")
        assert not (home.home / ENDED).exists()  # `ferops serve` started anew can run it
        assert home.canary.running is None

    played(play)
