"""Code that pages quote."""

from __future__ import annotations

import re
from pathlib import Path


def python_blocks(page: Path) -> dict[str, str]:
    """Return the Python blocks of a page that begin with the name of a file, by that name."""
    return dict(re.findall(r"```python\n# (\S+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
