from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from ferops import uses
from ferops.evaluation.verdict import verdict
from ferops.evaluation.words import figure, percent, points, with_interval

BANNER = "these numbers say nothing about real people"
VOID = {"meta", "link", "img", "br", "line", "circle", "polyline", "hr"}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, "tags are nested"

    def handle_data(self, data):
        self.text.append(data)


def _html(project):
    return (project.layout.reports("evaluate") / "report.html").read_text()


def _card(project):
    return (project.layout.reports("evaluate") / "model_card.md").read_text()


@pytest.fixture(params=["project", "challenged"])
def evaluated(request):
    return request.getfixturevalue(request.param)


def test_the_report_needs_no_other_file_and_no_network(evaluated) -> None:
    html = _html(evaluated)
    page = Page(html)
    assert not page.open, "every tag is closed"
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "srcset", "data", "action", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_anchors_lead_somewhere(evaluated) -> None:
    page = Page(_html(evaluated))
    ids = {attributes.get("id") for _, attributes in page.tags}
    anchors = {attributes["href"].removeprefix("#") for tag, attributes in page.tags if tag == "a"}
    assert anchors
    assert anchors <= ids


def test_pictures_have_texts_and_tables_have_captions_or_row_headers(evaluated) -> None:
    html = _html(evaluated)
    page = Page(html)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        assert "<caption>" in table or 'class="facts"' in table
        assert 'scope="row"' in table


def test_the_banner_is_there_for_rendered_faces_only(project, challenged) -> None:
    assert BANNER in _html(project)
    assert BANNER in _card(project)
    assert BANNER not in _html(challenged)
    assert BANNER not in _card(challenged)


def test_the_report_shows_the_measured_figures(evaluated) -> None:
    metrics = json.loads((evaluated.layout.artifacts("evaluate") / "metrics.json").read_text())
    html = _html(evaluated)
    for judged in (metrics["candidate"], metrics["baseline"]):
        low, value, high = (100 * judged["accuracy"][end] for end in ("low", "value", "high"))
        assert f"{value:.1f} ({low:.1f} to {high:.1f})" in html
        assert f"{value:.1f} ({low:.1f} to {high:.1f})" in _card(evaluated)
    for row in metrics["candidate"]["confusion"]:
        for count in row:
            assert f"<b>{count}</b>" in html
    shown = len(metrics["slices"])
    assert f"With {shown} slices some look bad by chance" in html
    assert html.count('<tr class="head">') == len(metrics["slice_columns"])


def test_champion_and_its_absence(project, challenged) -> None:
    assert "There is no champion yet" in _html(project)
    assert "Champion 7" in _html(challenged)
    assert "another split of the data" in _html(challenged)
    assert "champion 7" in _card(challenged)
    assert "champion" not in _card(project)


def test_mistakes_are_test_faces(project) -> None:
    page = Page(_html(project))
    faces = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(faces) == 18
    assert "these faces come from the test split only" in _html(project)


def test_the_card_has_the_sections_of_mitchell_et_al(evaluated) -> None:
    card = _card(evaluated)
    sections = re.findall(r"^## (.+)$", card, re.MULTILINE)
    assert sections == [
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Evaluation data",
        "Training data",
        "Quantitative analyses",
        "Ethical considerations",
        "Caveats and recommendations",
        "Provenance",
    ]
    assert not re.search(r"\b(nan|None|Undefined)\b", card)


def test_tables_of_the_card_are_even(evaluated) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", _card(evaluated), re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_uses_are_in_both(evaluated) -> None:
    text = " ".join("".join(Page(_html(evaluated)).text).split())
    for use in (*uses.INTENDED, *uses.OUT_OF_SCOPE, *uses.PROHIBITED, uses.DISCLAIMER):
        assert use in text
        assert use in _card(evaluated)


def test_figures_are_pictures(project) -> None:
    for name in ("confusion", "calibration", "slices", "training"):
        with Image.open(project.layout.reports("evaluate") / f"{name}.png") as image:
            assert image.format == "PNG"
            assert min(image.size) > 300


def _minus(low, high):
    return {"accuracy": {"value": (low + high) / 2, "low": low, "high": high}}


@pytest.mark.parametrize(
    ("baseline", "champion", "chance", "headline", "standing"),
    [
        ((0.01, 0.1), None, (0.2, 0.4), "more accurate than the baseline", "better"),
        ((-0.1, 0.1), None, (0.2, 0.4), "not distinguishable from the baseline", "same"),
        ((0.0, 0.1), None, (0.2, 0.4), "not distinguishable from the baseline", "same"),
        (
            (0.01, 0.1),
            (-0.2, -0.1),
            (0.2, 0.4),
            "less accurate than champion version 4 and more accurate than the baseline",
            "worse",
        ),
        ((0.01, 0.1), (0.01, 0.1), (-0.1, 0.1), "no better than chance", "worse"),
    ],
)
def test_the_verdict_follows_the_intervals(baseline, champion, chance, headline, standing) -> None:
    metrics = {
        "candidate_minus_baseline": _minus(*baseline),
        "candidate_minus_champion": champion and _minus(*champion),
        "candidate_minus_chance": _minus(*chance),
        "champion": champion and {"version": "4"},
    }
    assert verdict(metrics) == {"headline": f"The candidate is {headline}.", "standing": standing}


def test_figures_as_words() -> None:
    interval = {"value": 0.613, "low": 0.58, "high": 0.6412}
    assert with_interval(interval) == "61.3 (58.0 to 64.1)"
    assert with_interval({"value": -0.05, "low": -0.1, "high": 0.0}, signed=True) == "−5.0 (−10.0 to +0.0)"
    assert figure(interval) == "0.613 (0.580 to 0.641)"
    assert with_interval({"value": None, "low": None, "high": None, "reason": "no faces"}) == "n/a: no faces"
    assert percent(None) == "n/a"
    assert points(0.014) == "+1.4"
