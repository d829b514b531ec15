"""The page's scripts, as text."""

from __future__ import annotations

from pathlib import Path


def test_the_page_shows_text_as_text() -> None:
    """Nothing that comes from an image, a model or a server becomes HTML."""
    for file in (Path(__file__).parents[2] / "service" / "page").glob("*.js"):
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
            assert word not in file.read_text(), f"{file.name}: {word}"
