r"""How many faces are found in photographs that lie on their side or upside down, and how many where there are none.

    python benchmarks/turned.py --photos PHOTOS.zip --limit 300

Prints the table of docs/detectors.md. Every photograph is turned by 90, 180 and 270 degrees, without EXIF, and searched
as the Predictor does (ferops.inference.upright). `right` is a face found in the photograph turned upright again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from detect import without_faces
from images import read

from ferops.datasets.images import decode
from ferops.faces.detectors.mtcnn import Mtcnn
from ferops.faces.photo import Photo
from ferops.inference.upright import find_upright


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, nargs="+", help="zips of photographs with a face each")
    parser.add_argument("--limit", type=int, default=300, help="images drawn at random from each")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    detector = Mtcnn(min_confidence=0.9, threads=1)
    print("| images | turned by | right | turned wrongly | no face |\n| --- | --- | --- | --- | --- |")
    photos = []
    for path in options.photos:
        sets = [decode(data) for data in read(path, limit=options.limit, seed=options.seed)]
        photos += sets
        for degrees in (0, 90, 180, 270):
            count(detector, f"{len(sets)} of {path.name}", [Photo.of(each) for each in sets], degrees)
    empty = [Photo.of(each) for each in without_faces(photos)]
    for degrees in (0, 90, 180, 270):
        count(detector, f"{len(empty)} without a face", empty, degrees)


def count(detector: Mtcnn, name: str, photos: list[Photo], degrees: int) -> None:
    right = wrong = 0
    for photo in photos:
        (found,) = find_upright(detector, [photo.turned(degrees)])
        if found.faces:
            right += found.photo.rotation % 360 == 0
            wrong += found.photo.rotation % 360 != 0
    print(f"| {name} | {degrees} | {right} | {wrong} | {len(photos) - right - wrong} |", flush=True)


if __name__ == "__main__":
    main()
