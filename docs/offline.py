"""A hook of mkdocs: a page that loads anything from elsewhere is an error, so that the site works without a network."""

from __future__ import annotations

import logging
import re
from typing import Any

LOADS = re.compile(
    r"""<(?:script|link|img|iframe|audio|video|source)\b[^>]*?\b(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)"""
)

log = logging.getLogger("mkdocs.hooks.offline")


def on_post_page(output: str, /, *, page: Any, **_: Any) -> None:
    """Warn, which `strict` makes an error, of each address that `page` would load."""
    for address in LOADS.findall(output):
        log.warning("%s loads %s: the site must work offline", page.file.src_uri, address)
