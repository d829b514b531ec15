"""The page's markup, page/index.html, is that of two pages: one asks a service, one computes in the browser alone."""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["service", "browser"]
"""Of a page. What one of them alone has stands between `{{#service}}` and `{{/service}}`; or so with `browser`."""

_SECTION = re.compile(r"\{\{#(\w+)\}\}(.*?)\{\{/\1\}\}", re.DOTALL)


def markup(source: str, kind: Kind) -> str:
    """Return the markup of one page."""
    return _SECTION.sub(lambda section: section[2] if section[1] == kind else "", source)
