"""`ferops serve --follow` beside the server: it packages each new champion, and ends with the server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferops import presets
from ferops.errors import RegistryAwayError
from ferops.files import write_json
from ferops.layout import Layout
from ferops.packaging import follow
from ferops.packaging.bento import pointer
from ferops.registry import promotion


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A project whose champion is version 2, and whose Bento is packaged as soon as anybody asks."""
    layout = Layout(tmp_path)
    layout.params_file.write_text(presets.render("quick"))
    monkeypatch.setattr(promotion, "aliases", lambda *_: {"champion": "2"})
    monkeypatch.setattr(follow, "packaged", lambda _: pointer(layout).exists() and "ferops:v2")
    return layout


def test_a_champion_without_a_bento_is_packaged_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def reconcile(*_: object) -> str:
        write_json(pointer(layout), {"tag": "ferops:v2"})
        return "built the Bento ferops:v2"

    monkeypatch.setattr(follow, "reconcile", reconcile)
    assert [follow._step(layout) for _ in range(3)] == ["built the Bento ferops:v2", "", ""]


@pytest.mark.parametrize("said", ["No version of ferops is champion", "The registry is away"])
def test_the_server_keeps_what_it_serves_and_the_reason_is_said_once(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def aliases(*_: object) -> dict[str, str]:
        if "away" in said:
            raise RegistryAwayError(said)
        return {}

    monkeypatch.setattr(promotion, "aliases", aliases)
    monkeypatch.setattr(follow, "EVERY_S", 0.05)
    told: list[str] = []
    server = [sys.executable, "-c", "import time; time.sleep(1); raise SystemExit(7)"]
    assert follow.follow(layout, server, {**os.environ}, say=told.append) == 7
    assert len(told) == 1
    assert said in told[0]


def test_a_signal_ends_both(tmp_path: Path) -> None:
    """SIGTERM to the one that follows ends the server in order."""
    server = (
        "import signal, sys, time; signal.signal(15, lambda *_: (print('in order'), sys.exit(0))); "
        "print('up', flush=True); time.sleep(60)"
    )
    code = (
        "import os, sys; from pathlib import Path; from ferops.layout import Layout; "
        "from ferops.packaging.follow import follow; "
        "follow(Layout(Path(sys.argv[1])), [sys.executable, '-c', sys.argv[2]], {**os.environ}, say=print)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), server], stdout=subprocess.PIPE, text=True
    ) as both:
        assert both.stdout is not None
        assert both.stdout.readline() == "up\n"
        both.terminate()
        assert both.stdout.read() == "in order\n"
        assert both.wait(timeout=30) == 0
