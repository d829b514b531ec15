"""The model card, every figure from metrics.json.

Sections after M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

from typing import Any

from ferops import uses
from ferops.classes import DEFAULT_CLASSES
from ferops.evaluation import limits
from ferops.evaluation.words import figure, percent, points, slice_words, split_words, with_interval


def model_card(view: dict[str, Any]) -> str:
    """Return the model card as Markdown.

    Args:
        view: "metrics" (metrics.json), "config" (of the export), "histories" and "verdict".
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ferops.evaluation"),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": points,
        "interval": with_interval,
        "figure": figure,
        "slice_words": lambda one: slice_words(one).replace("|", "\\|"),  # a bar would end the table's cell
    }
    environment.globals |= {"split_words": split_words}
    return environment.get_template("model_card.md.j2").render(
        **view, **view["metrics"], **limits.sentences(view["metrics"]), classes=DEFAULT_CLASSES, uses=uses
    )
