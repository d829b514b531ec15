"""The preset `quick`, as benchmarks of single stages take it; without torch, which would count as their memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ferops import config
from ferops.config import Params

QUICK = Path(config.__file__).parent / "presets" / "quick.yaml"


def settings(**preprocess: Any) -> Params:
    """Return `quick` for the source `images`, of which every image is kept, with other settings of `preprocess`."""
    tree = config.read_yaml(QUICK)
    tree["data"]["sources"] = ["images"]
    tree["preprocess"] |= {"tight_sources": [], "no_face": "keep", "min_face_px": 0, **preprocess}
    return config.parse(tree)
