"""What goes into a Bento beside the service: the part of ferops that serving needs, the model, and pinned packages."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path

from ferops.errors import FeropsError
from ferops.files import require

# The modules that the service imports, and no more: no training, no registry
MODULES = (
    "__init__.py",
    "config.py",
    "errors.py",
    "machine.py",
    "uses.py",
    "classes.py",
    "model_config.py",
    "files.py",
    "records/__init__.py",
    "records/base.py",
    "records/provenance.py",
    "datasets/__init__.py",
    "datasets/images.py",
    "faces/__init__.py",
    "faces/align.py",
    "faces/crop.py",
    "faces/detection.py",
    "faces/detectors/__init__.py",
    "faces/detectors/boxes.py",
    "faces/detectors/centerface.py",
    "faces/detectors/landmarks.py",
    "faces/detectors/letterbox.py",
    "faces/detectors/mtcnn.py",
    "faces/detectors/mtcnn_networks.py",
    "faces/detectors/weights/mtcnn.safetensors",
    "faces/detectors/weights/NOTICE",
    "faces/detect.py",
    "export/__init__.py",
    "export/calibration.py",
    "export/runtime.py",
    "inference/__init__.py",
    "inference/answer.py",
    "inference/predictor.py",
)

# Of the starter model; the terms of weights go where the weights go
TEXTS = ("MODEL_CARD.md", "NOTICE")

# What these modules import; constraints.txt pins them and all that they need
REQUIREMENTS = (
    "bentoml",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "pillow",
    "prometheus-client",
    "pydantic",
    "python-multipart",
    "ruamel-yaml",
    "safetensors",
    "scipy",
    "starlette",
)


def copy_model(source: Path, target: Path) -> None:
    """Copy config.json, the served file and the texts that must go with it; the other precision stays behind."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    target.mkdir()
    for name in ("config.json", config["served"], *(name for name in TEXTS if (source / name).exists())):
        shutil.copyfile(source / name, target / name)


def copy_ferops(target: Path) -> None:
    source = Path(__file__).parents[1]
    for module in MODULES:
        (target / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / module, target / module)


def pins(constraints: Path) -> list[str]:
    """Return `name==version` lines for REQUIREMENTS and all that they need, as `constraints` pins them.

    Raises:
        FeropsError: a requirement is not pinned there.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = require(constraints, made_by="git checkout").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(line.partition("==")[0]): line.strip() for line in lines if "==" in line}
    wanted: dict[str, str] = {}
    queue = [Requirement(name) for name in REQUIREMENTS]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in wanted:
            continue
        if name not in pinned:
            raise FeropsError(f"{constraints} does not pin {name}, which the service needs. Add it: {name}==VERSION")
        wanted[name] = pinned[name]
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(needed)
    return [wanted[name] for name in sorted(wanted)]
