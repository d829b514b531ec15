"""The HTML pages that stages leave in reports/: self-contained, in one style, rendered from Jinja templates."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Literal

from ferops.formats import percent, points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def render(package: str, template: str, **values: Any) -> str:
    """Return `template` of `package` with `values`; an undefined name is an error, and text is escaped.

    Templates may use the filters number ("1,234"), percent ("61.3 %") and points ("+1.4") and begin with
    `{% include "style.html.j2" %}`, the shared style.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("ferops", ".")])
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"number": "{:,}".format, "percent": percent, "points": points}
    return environment.get_template(template).render(**values)


def image_uri(image: NDArray[np.uint8], *, side_px: int, kind: Literal["png", "jpeg"] = "png") -> str:
    """Return a copy of an image `(H, W, 3)`, at most `side_px` a side, as a data URI: the page needs no other file."""
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((side_px, side_px))
    out = io.BytesIO()
    small.save(out, format=kind.upper(), quality=85, optimize=True)  # PNG has no quality and takes no notice
    return data_uri(out.getvalue(), kind)


def data_uri(content: bytes, kind: Literal["png", "jpeg"]) -> str:
    """Return an encoded image as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
