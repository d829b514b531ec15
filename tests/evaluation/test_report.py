from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from ferops import uses
from ferops.evaluation.verdict import verdict
from ferops.records.metrics import Difference, Interval

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


def test_the_card_begins_as_the_hub_expects(evaluated) -> None:
    card = ModelCard(_card(evaluated))
    metrics = evaluated.metrics
    assert card.data.license == "apache-2.0"
    assert ("synthetic-data" in card.data.tags) is metrics.provenance.synthetic
    found = {each.metric_name: each for each in card.data.eval_results}
    assert found["Macro-F1"].metric_value == round(metrics.candidate.macro_f1.value, 4)
    assert found["Accuracy"].dataset_revision == metrics.provenance.data_version
    assert card.text.lstrip().startswith("# Model card: ferops")


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


def test_images_have_texts_and_tables_have_captions_or_row_headers(evaluated) -> None:
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
    metrics, html = evaluated.metrics, _html(evaluated)
    for interval in (metrics.candidate.accuracy, metrics.baseline.accuracy, metrics.end_to_end.accuracy):
        low, value, high = (100 * end for end in (interval.low, interval.value, interval.high))
        assert f"{value:.1f} ({low:.1f} to {high:.1f})" in html
        assert f"{value:.1f} ({low:.1f} to {high:.1f})" in _card(evaluated)
    for row in metrics.candidate.confusion:
        for count in row:
            assert f"<b>{count}</b>" in html
    shown = len(metrics.slices)
    assert f"With {shown} slices some look bad by chance" in html
    assert html.count('<tr class="head">') == len(metrics.slice_columns)


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


def test_figures_are_images(project) -> None:
    for name in ("confusion", "calibration", "slices", "training"):
        with Image.open(project.layout.reports("evaluate") / f"{name}.png") as image:
            assert image.format == "PNG"
            assert min(image.size) > 300


def _difference(low, high):
    found = Interval(value=(low + high) / 2, low=low, high=high)
    return Difference(accuracy=found, macro_f1=found)


@pytest.mark.parametrize(
    ("baseline", "champion", "chance", "expected"),
    [
        ((0.01, 0.1), (-0.2, 0.1), (0.2, 0.4), "not distinguishable from champion version 7 and more accurate than"),
        ((-0.1, 0.1), (0.01, 0.1), (0.2, 0.4), "more accurate than champion version 7 and not distinguishable from"),
        ((0.0, 0.1), (-0.2, -0.1), (0.2, 0.4), "less accurate than champion version 7 and not distinguishable from"),
        ((0.01, 0.1), None, (0.2, 0.4), "more accurate than the baseline and cannot be compared with champion version"),
        ((0.01, 0.1), (0.01, 0.1), (-0.1, 0.1), "no better than chance."),
    ],
)
def test_the_verdict_follows_the_intervals(challenged, baseline, champion, chance, expected) -> None:
    differences = {
        "candidate_minus_baseline": _difference(*baseline),
        "candidate_minus_champion": champion and _difference(*champion),
        "candidate_minus_chance": _difference(*chance),
    }
    assert f"The candidate is {expected}" in verdict(challenged.metrics.model_copy(update=differences))


def test_without_a_champion_the_verdict_is_about_the_baseline(project) -> None:
    assert verdict(project.metrics) == "The candidate is more accurate than the baseline."
