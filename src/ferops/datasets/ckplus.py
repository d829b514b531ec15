"""CK+, the Extended Cohn-Kanade data set, in its original release or as class folders of 48 px face crops.

Paper: P. Lucey et al., "The Extended Cohn-Kanade Dataset (CK+): A complete dataset for action unit and
emotion-specified expression", CVPR Workshops 2010. Documentation: the release's own `ReadMeCohnKanadeDatabase`.

Original release (four archives, or what they unpack to, below one folder): 593 sequences of 123 people,
`cohn-kanade-images/S005/001/S005_001_00000001.png`, each from a neutral face to the peak of an expression. 327 of them
have a label of the peak, `Emotion/S005/001/S005_001_00000011_emotion.txt`, one number such as `3.0000000e+00`: 0
neutral, 1 anger, 2 contempt, 3 disgust, 4 fear, 5 happy, 6 sadness, 7 surprise. A sequence without such a file has no
label. The field takes the last three frames of each labelled sequence, and so do we: 981 images. The first frames are
not taken as neutral: nobody labelled them.

48 px release (`CK+48`, on Kaggle): the same 981 frames cut to the face, `<class>/S005_001_00000009.png`: anger 135,
contempt 54, disgust 177, fear 75, happy 207, sadness 84, surprise 249.

Both become the source `ckplus`, whose subjects (`S005`) are the same people: as two sources side by side they would put
one person, and even one image, on both sides of a split.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ferops.classes import known
from ferops.datasets.kinds import IMAGE_ENDINGS
from ferops.datasets.release import Columns, Release, Rows, open_release, rows_of, wrong_layout
from ferops.errors import FeropsError

CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sad", "surprised")
"""Labels by the number in an `_emotion.txt`."""

PEAK_FRAMES = 3

WANTED = (
    "either the original release, the folder that holds both cohn-kanade-images/S005/001/S005_001_00000001.png and "
    "Emotion/S005/001/S005_001_00000011_emotion.txt (or extended-cohn-kanade-images.zip and Emotion_labels.zip), or "
    "the 48 px release, the folder or zip of the class folders, anger/S010_004_00000017.png"
)

_FRAME = re.compile(r"(?P<sequence>(?P<subject>S\d{3})_\d{3})_(?P<number>\d+)\.\w+", re.IGNORECASE)
_LABEL = re.compile(r"(?P<sequence>S\d{3}_\d{3})_\d+_emotion\.txt", re.IGNORECASE)


@dataclass(frozen=True)
class _Frame:
    """One image: its path in the release, the folder it lies in, and what its name says."""

    name: str
    folder: str
    sequence: str
    subject: str
    number: int


def read_ckplus(path: Path, *, skipped: Counter[str]) -> Rows:
    """Read a release: label, subject, no usage (CK+ has no split). `skipped` counts sequences, too.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, neither release, or a mixture of both.
    """
    release = open_release(path, wanted=WANTED, skipped=skipped)
    frames, labels = _sort(release, skipped=skipped)
    read = _classes if any(known(frame.folder) for frame in frames) else _peaks
    return rows_of(release, read(release, frames, labels, skipped=skipped), source="ckplus", skipped=skipped)


def _sort(release: Release, *, skipped: Counter[str]) -> tuple[list[_Frame], dict[str, str]]:
    """Return the frames, and the path of the emotion label of each sequence that has one."""
    frames: dict[tuple[str, str], _Frame] = {}
    labels: dict[str, str] = {}
    for name in release.names:
        path = PurePosixPath(name)
        frame, label = _FRAME.fullmatch(path.name), _LABEL.fullmatch(path.name)
        if frame and path.suffix.lower() in IMAGE_ENDINGS:
            folder = path.parent.name.lower()
            found = _Frame(name, folder, frame["sequence"].upper(), frame["subject"].upper(), int(frame["number"]))
            # Unpacked beside its archive, an image comes twice. In two class folders it has two labels: both stay.
            if frames.setdefault((folder, path.name.lower()), found) is not found:
                skipped["second copy of an image (unpacked beside its archive?)"] += 1
        elif label:
            if labels.setdefault(label["sequence"].upper(), name) != name:
                skipped["second copy of an emotion label (unpacked beside its archive?)"] += 1
        else:
            skipped["neither a frame nor an emotion label (FACS codes, landmarks, documents)"] += 1
    return list(frames.values()), labels


def _classes(
    release: Release, frames: list[_Frame], labels: dict[str, str], *, skipped: Counter[str]
) -> dict[str, Columns]:
    """Return the columns of the 48 px release, by path."""
    found = {frame.name: _columns(frame, label) for frame in frames if (label := known(frame.folder))}
    sequences = [frame for frame in frames if re.fullmatch(r"\d{3}", frame.folder)]
    if labels or sequences:
        raise FeropsError(
            f"{release.path} mixes both releases of CK+: {len(found)} images in class folders, such as "
            f"{next(iter(found))}, beside {len(sequences)} frames of sequences and {len(labels)} emotion labels. They "
            "show the same frames; give the folder of one of them"
        )
    for frame in frames:
        if frame.name not in found:
            skipped[f"unknown class folder {frame.folder!r}"] += 1
    return found


def _peaks(
    release: Release, frames: list[_Frame], labels: dict[str, str], *, skipped: Counter[str]
) -> dict[str, Columns]:
    """Return the columns of the last frames of each labelled sequence of the original release, by path."""
    if not (frames and labels):
        raise wrong_layout(release, wanted=WANTED, found=_half(frames, labels), skipped=skipped)
    sequences: defaultdict[str, list[_Frame]] = defaultdict(list)
    for frame in frames:
        sequences[frame.sequence].append(frame)
    codes = _read_labels(release, labels, skipped=skipped)
    taken: dict[str, Columns] = {}
    for sequence, found in sorted(sequences.items()):
        if sequence not in labels:
            skipped["sequence without an emotion label"] += 1
        elif sequence in codes:
            found.sort(key=lambda frame: frame.number)
            taken |= {frame.name: _columns(frame, codes[sequence]) for frame in found[-PEAK_FRAMES:]}
            skipped["frame before the last three of a labelled sequence"] += len(found[:-PEAK_FRAMES])
    skipped["emotion label without its sequence of frames"] += len(labels.keys() - sequences.keys())
    if not taken:
        reason = (
            f"no one of {len(labels)} emotion labels holds a code from 0 to 7 for one of {len(sequences)} sequences"
        )
        raise wrong_layout(release, wanted=WANTED, found=reason, skipped=skipped)
    return taken


def _half(frames: list[_Frame], labels: dict[str, str]) -> str:
    """Say which half of the original release is there, if any."""
    if frames:
        return f"they are {len(frames)} frames of CK+ with neither emotion labels (*_emotion.txt) nor class folders"
    if labels:
        return f"they are {len(labels)} emotion labels of CK+ without the frames"
    return "neither frames nor emotion labels of CK+"


def _read_labels(release: Release, labels: dict[str, str], *, skipped: Counter[str]) -> dict[str, str]:
    """Return sequence -> label; a label file without a code from 0 to 7 is counted."""
    sequence_of = {name: sequence for sequence, name in labels.items()}
    codes: dict[str, str] = {}
    for name, content in release.stream(list(sequence_of)):
        code = _code(content)
        if code is None:
            skipped["emotion label that holds no code from 0 to 7"] += 1
        else:
            codes[sequence_of[name]] = CODES[code]
    return codes


def _code(content: bytes) -> int | None:
    try:
        number = float(content.decode("ascii"))
    except ValueError:
        return None
    return int(number) if number in range(len(CODES)) else None


def _columns(frame: _Frame, label: str) -> Columns:
    return {"label": label, "subject": frame.subject}
