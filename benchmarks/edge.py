"""The converted files of a model: size, answers beside the served model's, and time of a face, for each format.

    python benchmarks/edge.py starter --photos wild.zip
    python benchmarks/edge.py starter --photos wild.zip --for onnx openvino

All is `ferops convert` in one call, on the faces of photographs drawn at random. Formats whose converter is not
installed (docs/edge.md says how), or that want other hardware, are in the table, too, and empty.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from images import read
from tables import markdown

from ferops.edge.formats import TARGETS, require_installed
from ferops.errors import FeropsError
from ferops.records.conversion import Conversion, ConvertedFile, Format


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as `ferops convert` takes it")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=300, help="photographs, drawn at random")
    parser.add_argument("--for", dest="formats", nargs="+", default=list(TARGETS), choices=TARGETS)
    asked = parser.parse_args()
    possible = [name for name in asked.formats if installed(name)]
    with TemporaryDirectory() as folder:
        found = converted(asked.model, read(asked.photos, limit=asked.limit), possible, Path(folder))
    files = {each.format: each for each in found.files}
    rows = [row(files[name]) if name in files else missing(name) for name in asked.formats]
    same = f"same label as served, of {found.faces:,}"
    time = f"ms a face, {found.threads} thread{'s' if found.threads > 1 else ''}"
    head = ["file", "made from", "precision", "MB", same, "largest difference of a probability", time]
    print(markdown(head, rows))


def installed(name: Format) -> bool:
    try:
        require_installed(name)
    except FeropsError:
        return False
    return True


def converted(model: str, photographs: list[bytes], formats: list[Format], folder: Path) -> Conversion:
    images, out = folder / "images", folder / "edge"
    images.mkdir()
    for number, photograph in enumerate(photographs):
        (images / f"{number}.jpg").write_bytes(photograph)
    wanted = [part for name in formats for part in ("--for", name)]
    command = [sys.executable, "-m", "ferops", "convert", model, *wanted, "--images", str(images), "--out", str(out)]
    subprocess.run(command, stdout=sys.stderr, check=True)
    return Conversion.read(out / "conversion.json", made_by=Conversion.made_by)


def row(each: ConvertedFile) -> list[str]:
    """Return the cells of a file; what this machine cannot run has no answers."""
    found = each.agreement
    answers = (
        [f"{100 * found.same_label:.1f} %", f"{found.largest_difference:.3f}", f"{found.latency_ms:.2f}"]
        if found
        else ["-"] * 3
    )
    file = f"`{each.file}`" if found else f"`{each.file}`, cannot be run here"
    return [file, f"`{each.made_from}`", each.precision.upper(), f"{each.size_mb:.1f}", *answers]


def missing(name: Format) -> list[str]:
    return [f"`{TARGETS[name].file}`, cannot be made here", *["-"] * 6]


if __name__ == "__main__":
    main()
