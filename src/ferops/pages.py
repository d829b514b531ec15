"""The HTML pages that stages leave in reports/: self-contained, in one style, rendered from Jinja templates."""

from __future__ import annotations

from typing import Any


def render(package: str, template: str, **values: Any) -> str:
    """Return `template` of `package` with `values`; an undefined name is an error, and text is escaped.

    Templates may use the filters number ("1,234"), percent ("61.3 %") and points ("+1.4") and begin with
    `{% include "style.html.j2" %}`, the shared style.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("ferops", ".")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"number": "{:,}".format, "percent": _percent, "points": _points}
    return environment.get_template(template).render(**values)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(difference: float) -> str:
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # never -0.0
