"""What the report and the model card are made with, and the card itself; every figure is from metrics.json."""

from __future__ import annotations

from typing import Any

from ferops import formats, uses
from ferops.evaluation import limits
from ferops.evaluation.slice_names import column_name, slice_name
from ferops.evaluation.verdict import verdict
from ferops.model_config import ExportConfig
from ferops.records.metrics import Metrics


def render(template: str, metrics: Metrics, config: ExportConfig, **more: Any) -> str:
    """Return the page that `template`, a file name, makes of the metrics and the export's config.

    The template knows the fields of `metrics` by their names, and `more`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ferops.evaluation"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {name: getattr(formats, name) for name in ("percent", "points", "interval", "figure")}
    environment.globals |= {"column_name": column_name, "slice_name": slice_name, "uses": uses}
    return environment.get_template(template).render(
        **dict(metrics), **limits.sentences(metrics), config=config, verdict=verdict(metrics), **more
    )


def model_card(metrics: Metrics, config: ExportConfig) -> str:
    """Return the model card as Markdown; `config` is the export's.

    Sections after M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
    """
    return render("model_card.md.j2", metrics, config)
