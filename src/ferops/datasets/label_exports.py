"""What annotation tools export, one label for each image: Label Studio (JSON, JSON-MIN), COCO, CVAT for images."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from ferops.errors import FeropsError
from ferops.files import disk_errors

ENDINGS = (".json", ".xml")
NAMES = re.compile(r"(annotations\.xml|result\.json|.*\.coco\.json|instances_.*\.json)", re.IGNORECASE)
"""Of the exports of CVAT, Label Studio, Roboflow and COCO, as they lie beside their images in an archive."""

WANTED = "an export of Label Studio (JSON or JSON-MIN), COCO (JSON) or CVAT for images (XML)"
LABEL_KEYS = ("expression", "choice", "label", "emotion", "class")
"""Names of the control that asks for the label, in JSON-MIN: that of `ferops review`, and Label Studio's templates."""
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # Label Studio puts it before the name of an uploaded file


class Answer(NamedTuple):
    """One image's label, None for an image without one; `who` gave it and `when`, as the tool writes them, or ""."""

    file: str
    label: str | None
    who: str = ""
    when: str = ""


def read_export(path: Path) -> list[Answer]:
    """Read an export. Raises FeropsError: it is none, is damaged, or gives one image two labels."""
    if not path.is_file():
        raise FeropsError(f"{path} does not exist; wanted {WANTED}")
    with disk_errors(path):
        return parse(path.read_bytes(), where=str(path))


def parse(content: bytes, *, where: str) -> list[Answer]:
    """Read the bytes of an export, with the errors of `read_export`; `where` names them in messages."""
    try:
        found = _cvat(content) if content.lstrip()[:1] == b"<" else _json(json.loads(content))
        return _one_each(found)
    except (ValueError, KeyError, TypeError, AttributeError, ElementTree.ParseError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FeropsError(f"{where} is not {WANTED}: {reason}") from error


def _json(content: Any) -> Iterator[Answer]:
    if isinstance(content, dict):
        return _coco(content)
    if isinstance(content, list) and all(isinstance(task, dict) for task in content):
        return (answer for task in content for answer in _label_studio(task))
    raise ValueError("neither a list of tasks, nor images and annotations")


def _label_studio(task: dict[str, Any]) -> Iterator[Answer]:
    """Yield what each annotator says of a task, in the full form or in the short one (JSON-MIN)."""
    if "data" not in task:
        file = _file(task)
        said = [str(task[key]) for key in LABEL_KEYS if task.get(key)][:1]
        yield Answer(file, _single(said, file), _person(task.get("annotator")), str(task.get("updated_at") or ""))
        return
    file = _file(task["data"])
    for one in task.get("annotations") or ():
        if not one.get("was_cancelled"):
            said = [choice for result in one["result"] for choice in result["value"].get("choices", ())]
            yield Answer(file, _single(said, file), _person(one.get("completed_by")), str(one.get("updated_at") or ""))


def _file(data: dict[str, Any]) -> str:
    """Return the name of a task's image: `file`, as `ferops review` writes it, or from its address."""
    if data.get("file"):
        return str(data["file"])
    address = str(data.get("image") or data.get("url") or next(iter(data.values())))
    parts = urlsplit(address)
    path = unquote((parse_qs(parts.query).get("d") or [parts.path])[0])
    uploaded = PurePosixPath(path)
    return _UPLOAD.sub("", uploaded.name) if "upload" in uploaded.parts else path.lstrip("/")


def _person(who: Any) -> str:
    return str((who.get("email") or who.get("id")) if isinstance(who, dict) else who or "")


def _coco(content: dict[str, Any]) -> Iterator[Answer]:
    names = {one["id"]: str(one["name"]) for one in content["categories"]}
    labels: dict[Any, list[str]] = defaultdict(list)
    for one in content["annotations"]:
        labels[one["image_id"]].append(names[one["category_id"]])
    for image in content["images"]:
        yield Answer(str(image["file_name"]), _single(labels[image["id"]], str(image["file_name"])))


def _cvat(content: bytes) -> Iterator[Answer]:
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # neither is in an export; both can be an attack
        raise ValueError("it declares a document type")
    root = ElementTree.fromstring(content)
    who = root.findtext("meta/task/assignee/username") or root.findtext("meta/task/owner/username") or ""
    when = root.findtext("meta/dumped") or ""
    for image in root.iter("image"):
        file = image.attrib["name"]
        said = [part.attrib["label"] for part in image if part.tag in {"tag", "box"}]
        yield Answer(file, _single(said, file), who, when)


def _single(said: Iterable[str], file: str) -> str | None:
    labels = sorted(set(said))
    if len(labels) > 1:
        raise ValueError(f"{file} has {len(labels)} labels ({', '.join(labels[:4])}). It may have one")
    return labels[0] if labels else None


def _one_each(found: Iterable[Answer]) -> list[Answer]:
    """Return the answers, of several for one image the last; two that differ are an error."""
    kept: dict[str, Answer] = {}
    for answer in found:
        earlier = kept.get(answer.file)
        if earlier and earlier.label and answer.label and earlier.label != answer.label:
            raise ValueError(f"{answer.file} is {earlier.label} and {answer.label}. Agree on one, and export again")
        if earlier is None or answer.label is not None:
            kept[answer.file] = answer
    return list(kept.values())
