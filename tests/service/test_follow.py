"""The service follows the file that names the Bento packaged last."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from service.follow import POINTER, Follower
from websockets.sync.client import connect

from answers import release
from ferops.config import Params
from ferops.datasets.synthetic.generate import rows
from ferops.files import write_json
from ferops.layout import Layout
from ferops.monitoring.key import log_key_file
from ferops.monitoring.traffic import KEY_VARIABLE
from ferops.packaging.bento import package, pointer
from ferops.packaging.serve import Place, serve_command
from ferops.records.release import Release
from served import served


class Bentos:
    """Folders of Bentos v1 and v2 with the code `ferops/a.py`; `swapped` are the versions that were swapped in."""

    def __init__(self, home: Path, params: Params) -> None:
        self.pointer = home / "serving.json"
        self.swapped: list[str] = []
        self.fails = False
        for version in ("v1", "v2"):
            source = self.source(version)
            (source / "service").mkdir(parents=True)
            release(params.serve).model_copy(update={"model_version": version}).write(
                source / "service" / "release.json"
            )
            self.write_code(version, "A = 1")
        self.follower = Follower(self.pointer, source=self.source("v1"), tag="ferops:v1", swap=self.swap)

    def source(self, version: str) -> Path:
        return self.pointer.parent / "bentos" / "ferops" / version / "src"

    def write_code(self, version: str, text: str) -> None:
        (self.source(version) / "ferops").mkdir(exist_ok=True)
        (self.source(version) / "ferops" / "a.py").write_text(text)

    async def swap(self, model: Path, found: Release) -> None:
        if self.fails:
            raise ValueError("no memory")
        assert model == self.source(found.model_version) / "model"
        self.swapped.append(found.model_version)

    def look(self, tag: str | None = None) -> list[str]:
        if tag is not None:
            write_json(self.pointer, {"tag": tag})
        asyncio.run(self.follower.look())
        return self.swapped


@pytest.fixture
def home(tmp_path: Path, quick_params: Params) -> Bentos:
    return Bentos(tmp_path, quick_params)


def test_another_bento_is_swapped_in_once(home: Bentos) -> None:
    assert home.look() == []  # nothing is packaged yet
    assert home.look("ferops:v1") == []
    assert home.look("ferops:v2") == ["v2"]
    assert home.look() == ["v2"]
    assert home.look("ferops:v1") == ["v2", "v1"]


def test_what_cannot_be_served_changes_nothing(home: Bentos, caplog: pytest.LogCaptureFixture) -> None:
    assert home.look("ferops:v9") == []
    home.write_code("v2", "A = 2")
    assert home.look("ferops:v2") == []
    assert "still serving ferops:v1: ferops:v2 has other code" in caplog.text
    home.write_code("v2", "A = 1")
    home.fails = True
    assert home.look("ferops:v2") == []
    home.fails = False
    assert home.look() == []  # not again and again,
    assert home.look("ferops:v2") == ["v2"]  # but when `ferops package` says so once more


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 100
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


@pytest.mark.slow
def test_no_request_is_lost_while_the_version_changes(bentos: Layout, quick_params: Params, tmp_path: Path) -> None:
    """Four clients and a stream, all the time: every answer comes, and for each client the version changes once."""
    package(bentos, quick_params, model_folder=bentos.root / "exports" / "1", version="1")
    command, variables = serve_command(bentos, quick_params, Place(0))
    photo = next(rows(seed=7))["image"]
    assert isinstance(photo, bytes)
    done = threading.Event()
    answers: list[list[tuple[float, float, str]]] = [[] for _ in range(4)]

    def ask(address: httpx.URL, found: list[tuple[float, float, str]]) -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            while not done.is_set():
                start = time.monotonic()
                answer = client.post("/predict", files={"image": photo}).raise_for_status().json()
                found.append((start, time.monotonic(), answer["model_version"]))

    def watch(address: httpx.URL) -> int:
        frames = 0
        with connect(f"ws://{address.host}:{address.port}/stream") as stream:
            while not done.is_set():
                stream.send(photo)
                assert len(json.loads(stream.recv(timeout=60))["faces"]) == 1
                frames += 1
        return frames

    log = tmp_path / "service.log"
    variables |= {POINTER: str(pointer(bentos)), KEY_VARIABLE: str(log_key_file(bentos))}
    with (
        served(command, variables, folder=bentos.root, log=log) as http,
        concurrent.futures.ThreadPoolExecutor(5) as pool,
    ):
        try:
            clients = [pool.submit(ask, http.base_url, found) for found in answers]
            stream = pool.submit(watch, http.base_url)
            wait_until(lambda: all(answers))
            package(bentos, quick_params, model_folder=bentos.root / "exports" / "2", version="2")
            asked_at = time.monotonic()
            wait_until(lambda: http.get("/readyz").is_error or http.get("/info").json()["model_version"] == "2")
            took_s = time.monotonic() - asked_at
            wait_until(lambda: all(found[-1][2] == "2" for found in answers))
        finally:
            done.set()
        for client in clients:
            client.result()
        assert stream.result() >= 2
        assert http.get("/docs.json").json()["info"]["version"] == "v2"
    for each in answers:
        versions = [version for _, _, version in each]
        assert versions == sorted(versions)  # it changes once
        assert versions[0] == "1"
    everything = sorted(answer for each in answers for answer in each)
    until = everything[0][1]
    for start, end, _ in everything:
        assert start < until  # somebody was waiting for an answer at every instant
        until = max(until, end)
    print(f"swapped after {took_s:.1f} s; {len(everything)} answers")
