from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader

import ferops
from browser import CHROMIUM, Page, browser
from ferops.pages import render

SOURCES = Path(ferops.__file__).parent
COLOUR = "getComputedStyle(document.body).%s"
WHITE, BLACK = "rgb(255, 255, 255)", "rgb(0, 0, 0)"

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def _styled(name: str) -> str:
    """Return a page in one of the two styles, with a table that is wider than a telephone."""
    box = "wide" if name.endswith(".j2") else "scroll"
    style = Environment(loader=FileSystemLoader(SOURCES), autoescape=True).get_template(name).render()
    style = style if name.endswith(".j2") else f"<style>{style}</style>"
    row = "".join(f"<td>column{number}</td>" for number in range(12))
    words = "<td class='prose'>" + "some words that could stand below each other " * 3 + "</td>"
    return f"<!doctype html>{style}<main><p>text</p><div class='{box}'><table><tr>{row}{words}</tr></table></div>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def test_figures_are_written_as_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "figures_page.py").write_text("")
    (tmp_path / "page.html.j2").write_text(
        "{{ 1509 | number }} {{ 0.613 | percent }} {{ 0.9 | percent(0) }} {{ -0.008 | points }}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert render("figures_page", "page.html.j2") == "1,509 61.3\u00a0% 90\u00a0% \u22120.8"


@needs_browser
@pytest.mark.parametrize("style", ["style.html.j2", "evaluation/templates/report.css"])
def test_dark_is_for_screens_and_wide_tables_scroll(style: str, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(_styled(style), encoding="utf-8")
    page.size(390, 800)
    page.dark(False)
    page.open(file.as_uri())
    assert page.run("document.documentElement.scrollWidth") == 390, "the table scrolls, the page does not"
    seen = {}
    for dark in (False, True):
        for printed in (False, True):
            page.dark(dark, printed=printed)
            seen[dark, printed] = page.run(COLOUR % "color"), page.run(COLOUR % "backgroundColor")
    assert seen[True, False] != seen[False, False]
    assert seen[True, True] == seen[False, True], "paper is white"
    assert seen[True, True][1] == WHITE


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_every_share_of_a_confusion_matrix_can_be_read(dark: bool, page: Page, tmp_path: Path) -> None:
    """Contrast of at least 4.5 to 1, as WCAG 2.2 asks (1.4.3)."""
    environment = Environment(loader=FileSystemLoader(SOURCES / "evaluation" / "templates"), autoescape=True)
    environment.filters["percent"] = lambda share, digits: f"{100 * share:.{digits}f}"
    row = environment.get_template("macros.html.j2").module.confusion_row
    rows = "".join(row(f"{share}", [share, 100 - share]) for share in range(101))
    css = (SOURCES / "evaluation" / "templates" / "report.css").read_text(encoding="utf-8")
    file = tmp_path / "page.html"
    file.write_text(f"<!doctype html><style>{css}</style><section><table class='heat'>{rows}</table>", encoding="utf-8")
    page.dark(dark)
    page.open(file.as_uri())
    contrasts = page.run(CONTRASTS)
    assert len(contrasts) == 404
    assert min(contrasts) >= 4.5


CONTRASTS = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map((one) => (one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  return [...document.querySelectorAll("td b, td small")].map((text) => {
    const both = [light(getComputedStyle(text).color), light(getComputedStyle(text.parentElement).backgroundColor)];
    return Math.max(...both) / Math.min(...both);
  });
})()"""
"""Of every count and share, the contrast between text and ground."""
