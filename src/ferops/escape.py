"""Text that others wrote (labels, groups, names of files and versions) in terminals, logs and Markdown.

HTML pages need nothing of this: their templates escape every value.
"""

from __future__ import annotations

import html
import re
from typing import Any, TextIO, cast

_REORDERS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Bidirectional controls: they show a text in another order than it has (CVE-2021-42574)."""
_BREAKS = "\n\r\v\f\x85\u2028\u2029"
_CONTROLS = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_REORDERS}]")
_INLINE = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_REORDERS}]")

_MARKUP = re.compile(r"([\\`*_\[\]|~#!])")
_AT_THE_START = re.compile(r"^(\s*)([-+](?=[\s-])|=(?==*\s*$)|\d+[.)](?=\s|$))")
_LINKS = re.compile(r"(?<=:)//|(?<=\bwww)\.|@", re.IGNORECASE)
"""What GitHub's Markdown makes a link without any brackets."""


def lines(text: str) -> str:
    """Return `text` for a terminal or a log: line breaks and tabs stay, other control characters become `\\u001b`."""
    return _CONTROLS.sub(_shown, text)


def inline(text: str) -> str:
    """Return `text` as a part of one line: no line breaks either."""
    return _INLINE.sub(_shown, text)


def markdown(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, in a paragraph, a list or the cell of a table."""
    shown = html.escape(" ".join(re.split(f"[{_BREAKS}]+", text)), quote=False)
    shown = _MARKUP.sub(r"\\\1", inline(shown))
    shown = _AT_THE_START.sub(lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", shown)
    return _LINKS.sub(lambda found: "".join(f"&#{ord(character)};" for character in found[0]), shown)


def code(text: str) -> str:
    """Return `text` for between two backticks in Markdown, also in the cell of a table."""
    return inline(" ".join(text.split())).replace("`", "'").replace("|", "\\|")


def _shown(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class _Plain:
    """A stream that passes on `lines`: nothing that is printed can steer the terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write("\r".join(map(lines, text.split("\r"))))  # a bar begins its line again
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def plain_stream(stream: TextIO) -> TextIO:
    """Return `stream` with every control character escaped that is no line break, tab or carriage return (of a bar)."""
    return cast(TextIO, _Plain(stream))
