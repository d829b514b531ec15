"""Make a model of a project from weights that session.sh left: weights.safetensors and config.json.

python benchmarks/gpu/adopt.py OUT/student.safetensors artifacts/train/student
"""

from __future__ import annotations

import sys
from pathlib import Path

import weights

from ferops.files import atomic_folder
from ferops.training import model


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    adopt(Path(sys.argv[1]), Path(sys.argv[2]))


def adopt(path: Path, target: Path) -> None:
    net, config = weights.load(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(target) as folder:
        model.save(folder, net, config)
    print(f"{target}: {config.architecture}, {config.size_px} px, {', '.join(config.classes)}")


if __name__ == "__main__":
    main()
