"""What the report and the model card are made with, and the card itself; every figure is from metrics.json."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ferops import escape, formats, uses
from ferops.evaluation import limits
from ferops.evaluation.hub import metadata
from ferops.evaluation.slice_names import column_name, slice_name, value_name
from ferops.evaluation.verdict import verdict
from ferops.model_config import ExportConfig
from ferops.records.metrics import Metrics

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, metrics: Metrics, config: ExportConfig, **more: Any) -> str:
    """Return the page that `template`, a file name, makes of the metrics and the export's config.

    The template knows the fields of `metrics` by their names, and `more`.
    """
    sentences = {name: Markup(text) for name, text in limits.sentences(metrics).items()}
    return (
        _environment(html=template.endswith(".html.j2"))
        .get_template(template)
        .render(**dict(metrics), **sentences, config=config, verdict=verdict(metrics), **more)
    )


@cache
def _environment(*, html: bool) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ferops.evaluation"),
        autoescape=html,
        finalize=None if html else _as_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {name: _safe(getattr(formats, name)) for name in ("percent", "points", "interval", "figure")}
    environment.filters["code"] = _safe(escape.code)
    environment.globals |= {
        "column_name": column_name,
        "slice_name": slice_name,
        "value_name": value_name,
        "uses": uses,
    }
    return environment


def _safe(write: Callable[..., str]) -> Callable[..., Markup]:
    """Let what a function of ours writes, figures and words, stand in a page as it is."""
    return lambda *values, **options: Markup(write(*values, **options))


def _as_markdown(value: Any) -> Any:
    """Escape a text that a Markdown template inserts, as `autoescape` does it for HTML."""
    return escape.markdown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def model_card(metrics: Metrics, config: ExportConfig) -> str:
    """Return the model card as Markdown, with the hub's metadata before it; `config` is the export's.

    Sections after M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
    """
    return metadata(metrics, config) + render("model_card.md.j2", metrics, config)
