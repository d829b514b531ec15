from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ferops.classes import DEFAULT_CLASSES
from ferops.config import Params, Serve

if TYPE_CHECKING:
    from page_server import PageServer


@pytest.fixture(scope="module")
def limits(quick_params: Params) -> Serve:
    return quick_params.serve


@pytest.fixture(scope="module")
def server(make_export: Any, limits: Serve) -> Iterator[PageServer]:
    """The page with a model of seven classes that says neutral where little speaks for another."""
    from page_server import PageServer  # with the whole service: for the tests in a browser alone

    model = make_export(favours="neutral", by=1.2, classes=(*DEFAULT_CLASSES, "neutral"), low_confidence=0.3)
    server = PageServer(model, limits)
    with server.running():
        yield server
