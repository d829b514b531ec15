"""Save matplotlib's figures without drawing them, which takes most of the time of a stage on a few images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from sample_images import encoded

BLANK = encoded(np.full((8, 8), 255, np.uint8))


@contextmanager
def undrawn() -> Iterator[None]:
    """Save every figure as a blank PNG of 8 px; for tests that look at no drawing."""

    def save(_: Any, target: Path | IO[bytes], **__: Any) -> None:
        if isinstance(target, Path):
            target.write_bytes(BLANK)
        else:
            target.write(BLANK)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", save)
        yield
