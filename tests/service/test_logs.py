"""What a client sends cannot forge a line of the log, nor speak to the terminal that shows it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from service.logs import LONGEST, printable, protect

HOSTILE = {
    "newline": "/\nFORGED",
    "carriage return": "/\rFORGED",
    "escape": "/\x1b[31mred",
    "C1": "/\x9b31m",
    "line separator": "/\u2028FORGED",
    "turned around": "/\u202egpj.exe",
    "isolate": "/\u2066x",
    "invisible": "/a\u200bb",
    "half a character": "/\ud800",
    "null": "/\x00",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_but_printable_characters_stays(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert "\\" in shown  # escaped, not dropped


def test_ordinary_text_stays_as_it_is() -> None:
    assert printable("/page/app.js größer 写真") == "/page/app.js größer 写真"


def test_a_long_text_is_cut() -> None:
    shown = printable("/" + "a" * 60_000)
    assert len(shown) < LONGEST + 40
    assert "59001 more characters" in shown


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger like BentoML's, protected."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    logger = logging.getLogger("test.logs")
    logger.propagate = False
    logger.addHandler(handler)
    before = {each: each.formatter for each in logging.getLogger().handlers}
    protect()
    yield logger, stream
    logger.removeHandler(handler)
    for each, formatter in before.items():
        each.setFormatter(formatter)


def test_a_request_is_one_line(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    protect()  # a second time changes nothing
    logger.warning("path=%s", "/\nFORGED\x1b[31m")
    assert stream.getvalue() == "[WARNING] path=/\\nFORGED\\x1b[31m\n"


def test_no_line_of_a_traceback_looks_like_one_of_the_log(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    try:
        int("first\n[INFO] forged\x1b[31m")
    except ValueError:
        logger.exception("failed on %s", "/x")
    first, *others = stream.getvalue().splitlines()
    assert first == "[ERROR] failed on /x"
    assert others
    assert "[INFO]" in others[-1]
    assert all(line.startswith("  | ") and line.isprintable() for line in others)
