"""`ferops review`: the images that need a person, most valuable first, as a task for Label Studio or CVAT."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from ferops.datasets.images import decode
from ferops.datasets.raw import sources
from ferops.errors import FeropsError
from ferops.escape import inline
from ferops.faces.detection import Detector
from ferops.files import atomic_folder, write_json, write_text
from ferops.layout import Layout
from ferops.pages import data_uri
from ferops.review.answers import UNCLEAR, image_name
from ferops.review.pool import Pool, ask, of_files, of_source
from ferops.review.rank import Answer, Reason, reasons
from ferops.scoring.opening import STARTER, opened
from ferops.validation.descriptors import describe, image_views

SIDE_PX = 512
"""Of the images for the person: enough to see a face, and a task of 200 stays below 20 MB."""

ALIKE = 0.9
"""Cosine of two images' descriptors from which one stands for both: of frames of one video, a person sees one. 500
different images (photographs, and FER2013's) had at most 0.88; moved by 3 %, turned by 2 degrees or brighter, an image
and its copy had 0.92 or more in 19 of 20 cases."""

SPARE = 3  # candidates for each place, for those that are alike


@dataclass(frozen=True)
class Queue:
    """What was written: `folder`, how many cases of how many images, and how many have each kind of reason."""

    folder: Path
    cases: int
    images: int
    kinds: Counter[str]
    without_face: int
    models: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """An image that needs a person, by its row in the pool."""

    row: int
    answer: Answer
    reasons: tuple[Reason, ...]

    @property
    def value(self) -> float:
        return sum(reason.worth for reason in self.reasons)

    @property
    def about(self) -> dict[str, Any]:
        """What the queue says of it."""
        said = max(self.answer, key=self.answer.__getitem__)
        why = "; ".join(reason.words for reason in self.reasons)
        return {"answer": said, "confidence": round(self.answer[said], 3), "value": round(self.value, 3), "why": why}


def review(layout: Layout, what: str, *, model: str | None, limit: int, detector: Detector | None = None) -> Queue:
    """Write the queue of a source in data/, or of image files, to reports/review/NAME.

    Args:
        what: the source's name, or a path.
        model: whose answers count, as for `ferops predict`; the starter is asked, too, unless it is this one.
        limit: the most cases.

    Raises:
        FeropsError: there is no such source or path, the model cannot be opened, or nothing needs a person.
    """
    is_source = what in sources(layout)
    if not is_source and not Path(what).exists():
        raise FeropsError(
            f"{what} is neither a source in {layout.data} ({', '.join(sources(layout)) or 'nothing'}) nor a path"
        )
    pool = of_source(layout, what) if is_source else of_files(Path(what))
    with ExitStack() as stack:
        first = stack.enter_context(opened(layout, model))
        answers, framer = ask(pool, first, detector=detector)
        models, others, classes = [first.name], dict[int, dict[str, float]](), [*first.config.classes]
        if not first.name.startswith(STARTER):
            second = stack.enter_context(opened(layout, STARTER))
            others, _ = ask(pool, second, detector=detector)
            models.append(second.name)
            classes += second.config.classes  # a person may say what the first model cannot
    asked = int(pool.rows["class"].notna().sum())
    suspected = _suspected(layout, what) if is_source else {}
    cases = sorted(_cases(pool, answers, others, suspected), key=lambda case: -case.value)
    once = {framer.pixels[case.row]: case for case in reversed(cases)}  # of pixel-identical images the first
    cases = [case for case in cases if once[framer.pixels[case.row]] is case]
    if not cases:
        raise FeropsError(
            f"no image of {what} needs a person: of {asked}, {len(answers)} have a face, and there the model is sure, "
            "and says what the labels say"
        )
    folder = layout.reports("review") / pool.name
    labels = [*dict.fromkeys([*classes, *sorted(pool.rows["label"].dropna().unique())])]
    with atomic_folder(folder) as temporary:
        chosen = _write(temporary, pool, cases, labels, limit=limit, model=first.name)
    kinds = Counter(reason.kind for case in chosen for reason in case.reasons)
    without = asked - len(answers) - len(framer.undecodable)
    return Queue(folder, len(chosen), asked, kinds, without, tuple(models))


def _suspected(layout: Layout, source: str) -> dict[str, float]:
    """Return image_id -> quality of the labels that the stage `validate` suspects; none where it has not run."""
    path = layout.artifacts("validate") / "label_review.parquet"
    if not path.exists():
        return {}
    table = pd.read_parquet(path, columns=["image_id", "source", "suspected", "label_quality"])
    table = table[table["suspected"] & (table["source"] == source)]
    return dict(zip(table["image_id"], table["label_quality"], strict=True))


def _cases(
    pool: Pool, answers: Mapping[int, Answer], others: Mapping[int, Answer], suspected: Mapping[str, float]
) -> Iterator[Case]:
    """Yield the images with a reason."""
    labels, images = pool.rows["label"].tolist(), pool.rows["image_id"].tolist()
    for row, answer in sorted(answers.items()):
        found = reasons(labels[row], answer, other=others.get(row), quality=suspected.get(images[row]))
        if found:
            yield Case(row, answer, tuple(found))


def _write(
    folder: Path, pool: Pool, cases: Sequence[Case], labels: Sequence[str], *, limit: int, model: str
) -> list[Case]:
    """Write images and tasks; return the cases that were taken."""
    candidates = cases[: SPARE * limit]
    encoded = dict(pool.only({case.row for case in candidates}).images())
    known = pool.rows.to_dict("index")
    (folder / "images").mkdir()
    chosen: list[Case] = []
    seen: list[NDArray[np.float32]] = []
    tasks, table = [], []
    for case in candidates:
        image = decode(encoded.pop(case.row))
        if len(chosen) == limit or not _is_new(image, seen):
            continue
        chosen.append(case)
        one = known[case.row]
        name = image_name(len(chosen), one["image_id"])
        content = _jpeg(image)
        (folder / "images" / name).write_bytes(content)
        about = {"label": one["label"], **case.about, "place": inline(one["place"])}
        tasks.append({"data": {"image": data_uri(content, "jpeg"), "file": name, "model": model, **about}})
        table.append({"file": name, **about})
    choices = [*labels, UNCLEAR]
    write_json(folder / "label-studio.json", tasks)
    write_text(folder / "label-studio.xml", _interface(choices))
    write_json(folder / "cvat-labels.json", [{"name": name, "type": "tag", "attributes": []} for name in choices])
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    write_text(folder / "queue.csv", text.getvalue())
    return chosen


def _interface(choices: Sequence[str]) -> str:
    """Return Label Studio's labelling interface: the image, and a choice of one. Neither label nor answer is shown."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image")
    asked = ElementTree.SubElement(
        view, "Choices", name="expression", toName="image", choice="single", showInline="true"
    )
    for name in choices:
        ElementTree.SubElement(asked, "Choice", value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _is_new(image: NDArray[np.uint8], seen: list[NDArray[np.float32]]) -> bool:
    """Whether no image before looks nearly the same; if so, remember it."""
    found = describe(image_views(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)))
    found /= max(float(np.linalg.norm(found)), 1e-6)
    if any(float(found @ other) >= ALIKE for other in seen):
        return False
    seen.append(found)
    return True


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    shown = Image.fromarray(image)
    shown.thumbnail((SIDE_PX, SIDE_PX))
    content = io.BytesIO()
    shown.save(content, "JPEG", quality=90)
    return content.getvalue()
