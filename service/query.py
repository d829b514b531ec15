"""What a request's query asks for: ?explain=1, ?crops=1, ?blur=1."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from ferops.inference.extras import MAX_EXPLAINED, Wanted
from service.refusals import Refusal

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

NAMES = tuple(field.name for field in fields(Wanted))
_VALUES = {"1": True, "true": True, "0": False, "false": False}

EXPLAIN_MEGAPIXELS = MAX_EXPLAINED * 2.0
"""Heat maps take the worker as long as an image of this many more megapixels, at most; measured on 2 cores."""


def wanted(query: QueryParams) -> Wanted:
    """Return the extras asked for. Raises Refusal: a value is neither 1 nor 0."""
    found = {name: query[name].lower() for name in NAMES if name in query}
    for name, value in found.items():
        if value not in _VALUES:
            raise Refusal("bad_query", f"The query has {name}={value[:40]}. Supported: {name}=1 and {name}=0.")
    return Wanted(**{name: _VALUES[value] for name, value in found.items()})


def refuse_any(query: QueryParams) -> None:
    """Raise Refusal if extras are asked for where there are none."""
    if found := [name for name in NAMES if name in query]:
        raise Refusal("bad_query", f"A batch has no {', '.join(found)}. Send the images to /predict, one by one.")
