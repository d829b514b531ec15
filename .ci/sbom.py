"""Write the software bill of materials: CycloneDX's of the environment, and the weights that come with ferops.

make sbom
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ferops.files import read_json, sha256, write_json

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ferops"

LICENCES = {
    "faces/detectors/weights/mtcnn.safetensors": "MIT",
    "faces/detectors/weights/yunet.safetensors": "BSD-3-Clause",
    "training/weights/dlib_face_resnet29.safetensors": "CC0-1.0",
    "training/weights/efficientnet_lite0.safetensors": "Apache-2.0",
    "training/weights/faceres_mobilenetv1.safetensors": "MIT",
}
"""Of each file of weights in the package; NOTICE beside it says where they are from."""


def main(path: Path) -> None:
    tool = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        "--output-reproducible",
        "--no-validate",
    ]  # validation: a minute
    run = [*tool, "--pyproject", str(ROOT / "pyproject.toml"), sys.executable]
    bom: dict[str, Any] = json.loads(subprocess.run(run, stdout=subprocess.PIPE, check=True).stdout)
    found = weights()
    bom["components"] += found
    write_json(path, bom)
    print(f"{path}: {len(bom['components']) - len(found)} packages, {len(found)} files of weights")


def weights() -> list[dict[str, Any]]:
    """Return the components of the weights in the package, and of the starter model if it has been pulled."""
    files = {str(path.relative_to(SOURCE)): path for path in SOURCE.rglob("*.safetensors")}
    if files.keys() != LICENCES.keys():
        raise SystemExit(f"say in {__file__} which licence these weights have: {files.keys() ^ LICENCES.keys()}")
    found = [_component(f"src/ferops/{name}", path, LICENCES[name]) for name, path in sorted(files.items())]
    config = ROOT / "starter" / "config.json"
    if not config.exists():
        print("the starter model is not listed: it has not been pulled (dvc pull starter.dvc)", file=sys.stderr)
        return found
    starter = read_json(config, made_by="dvc pull starter.dvc")
    return [*found, _component(f"starter/{starter['served']}", config.parent / starter["served"], starter["licence"])]


def _component(name: str, path: Path, licence: str) -> dict[str, Any]:
    known = licence in LICENCES.values()
    return {
        "type": "machine-learning-model",
        "bom-ref": name,
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": sha256(path)}],
        "licenses": [{"license": {"id" if known else "name": licence}}],
        "externalReferences": [{"type": "license", "url": f"{Path(name).parent}/NOTICE"}],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
