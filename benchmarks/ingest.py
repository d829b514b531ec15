"""How fast an archive of many images comes in, and how much memory that needs, from the archive to the version.

    python benchmarks/ingest.py                                   # a zip of 290,000 images, as many as AffectNet has
    python benchmarks/ingest.py --images 20000 --kind tar.gz --side 48
    python benchmarks/ingest.py --archive fer2013.zip --source fer2013

Makes the archive (noise, so that nothing compresses), runs `ferops import` on it in a project of its own, and reads the
peak of its resident memory from the system: that of the largest of its processes, DVC's among them. The first line is
an archive of a tenth of the images, so that `kB an image` is what one more image costs.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ferops.classes import DEFAULT_CLASSES
from ferops.machine import cpu_name

FEROPS = """
import atexit, pathlib, re
# Not ru_maxrss: after a fork that holds the parent's peak, too
peak = lambda: re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
atexit.register(lambda: print("peak_kb", peak()))
from ferops.cli import main
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=290_000)
    parser.add_argument("--side", type=int, default=16, metavar="PX", help="the images' width and height")
    parser.add_argument("--kind", default="zip", choices=["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
    parser.add_argument("--archive", type=Path, help="your own data set, instead of generated images")
    parser.add_argument("--source", default="folder", help="what --archive is")
    options = parser.parse_args()
    print(cpu_name())
    print(f"{'images':>9}{'archive, MB':>13}{'seconds':>9}{'images/s':>10}{'peak memory, MB':>17}{'kB an image':>13}")
    if options.archive:
        report(options.archive, source=options.source)
        return
    with tempfile.TemporaryDirectory() as folder:
        before = None
        for images in (options.images // 10, options.images):
            archive = Path(folder) / f"many.{options.kind}"
            make(archive, images=images, side_px=options.side)
            before = report(archive, source="folder", before=before)


def report(archive: Path, *, source: str, before: tuple[int, float] | None = None) -> tuple[int, float]:
    """Import `archive`, print a line, and return (images, peak memory in MB); `before` is that of a smaller one."""
    images, seconds, peak_mb = measure(archive, source=source)
    each = f"{1024 * (peak_mb - before[1]) / (images - before[0]):.2f}" if before else ""
    print(
        f"{images:>9,}{archive.stat().st_size / 2**20:>13.1f}{seconds:>9.1f}{images / seconds:>10.0f}{peak_mb:>17.0f}"
        f"{each:>13}",
        flush=True,
    )
    return images, peak_mb


def measure(archive: Path, *, source: str) -> tuple[int, float, float]:
    """Import `archive` in a new project; return the number of images, the seconds and the peak memory in MB."""
    with tempfile.TemporaryDirectory() as root:
        for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
            subprocess.run(command, cwd=root, check=True)
        started = time.perf_counter()
        child = subprocess.run(
            [sys.executable, "-c", FEROPS, "import", source, str(archive.resolve())],
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
    if child.returncode:
        raise SystemExit(f"ferops import failed: {child.stdout}")
    images = int(child.stdout.split(":")[1].split()[0].replace(",", ""))
    return images, seconds, int(child.stdout.split()[-1]) / 1024


def make(path: Path, *, images: int, side_px: int) -> None:
    """Write an archive of `images` different images, in a folder for each class."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, content in image_files(images, side_px=side_px):
                archive.writestr(name, content)
        return
    ending = path.suffix.removeprefix(".")
    with tarfile.open(path, "w" if ending == "tar" else f"w:{ending}") as tar:  # type: ignore[call-overload]
        for name, content in image_files(images, side_px=side_px):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def image_files(number: int, *, side_px: int) -> Iterator[tuple[str, bytes]]:
    chance = np.random.default_rng(0)
    for index in range(number):
        out = io.BytesIO()
        Image.fromarray(chance.integers(0, 256, (side_px, side_px), dtype=np.uint8)).save(out, format="PNG")
        yield (
            f"many/train/{DEFAULT_CLASSES[index % len(DEFAULT_CLASSES)]}/a_name_as_long_as_they_are_{index:07}.png",
            out.getvalue(),
        )


if __name__ == "__main__":
    main()
