"""reports/index.html: may this model be shipped, by which gates, and where is the rest?"""

from __future__ import annotations

from pathlib import Path

from ferops import pages
from ferops.files import write_text
from ferops.formats import figure, interval, percent
from ferops.layout import Layout
from ferops.orchestration.outcome import Outcome
from ferops.orchestration.summary import short

PAGES = {
    "evaluate/report.html": ("Evaluation", "How good the model is: intervals, slices, mistakes, calibration, cost"),
    "register/model_card.md": ("Model card", "Decision, uses, limits, data, figures"),
    "explain/index.html": ("Explanation", "Why it answers what it answers: heat maps, mistakes, confidence"),
    "explain/map.html": ("Map of the faces", "The test faces as the network sees them, in two and three dimensions"),
    "robustness/index.html": ("Robustness", "What becomes of the answers when images get worse"),
    "fairness/index.html": ("Fairness", "Whether it finds and answers faces equally well in every group of people"),
    "validate/index.html": ("Data", "What came in, what was held back and why, which labels look wrong"),
    "validate/near_duplicates.html": ("Near-duplicates", "Altered copies of one image, side by side"),
    "validate/data_docs/index.html": ("Expectations", "What the data must meet, by Great Expectations"),
    "split/index.html": ("Split", "What went to training, validation and test, and that nothing leaks"),
    "preprocess/contact_sheet.png": ("Faces", "As they were cropped"),
    "preprocess/no_face.png": ("No face", "Images in which no face was found"),
    "drift/index.html": ("Drift", "What changed between two versions of the data"),
    "monitor/index.html": ("Monitoring", "What the served model meets: drift, and accuracy without labels"),
}
"""Every page that a stage or a verb leaves below reports/, its name, and what it answers; the overview links it."""


def write_overview(layout: Layout, outcome: Outcome) -> Path:
    """Write the page for the run that left `outcome`, and return its path."""
    metrics, registered = outcome.metrics, outcome.registered
    path = layout.root / "reports" / "index.html"
    votes = metrics.annotators
    people = {"how often one annotator gives the label, %": interval(votes.label.annotator)} if votes else {}
    html = pages.render(
        "ferops.orchestration",
        "overview.html.j2",
        name=metrics.provenance.params["register"]["model_name"],
        registered=registered,
        origin=metrics.provenance,
        short=short,
        tiles={
            "accuracy, %": interval(metrics.candidate.accuracy),
            "macro-F1": figure(metrics.candidate.macro_f1),
            **people,
            "accuracy of the baseline": percent(metrics.baseline.accuracy.value),
            "accuracy of the most frequent answer": percent(metrics.chance.accuracy),
            "test faces": f"{metrics.n:,}",
            "rows accepted": f"{outcome.validated.accepted:,} of {outcome.validated.rows_in:,}",
        },
        confidence=metrics.confidence_level,
        about=f"{outcome.trained.architecture} at {outcome.trained.size_px} px",
        links={page: about for page, about in PAGES.items() if (path.parent / page).exists()},
    )
    write_text(path, html)
    return path
