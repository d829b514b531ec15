"""Your own images: a folder for each class, in a folder or an archive, and a table about them if there is one.

`anger/1.jpg`, `train/anger/1.jpg`, `set/Angry/train/1.jpg` and `set/0_angry/1.jpg` are all understood; so are the other
words for a label (`ferops.classes`), and the user's own. Any other name refuses the import: a missing class could go
unnoticed. Without class folders the table says what an image shows (`ferops.datasets.attributes`).
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ferops.classes import CLASS_NAME, KNOWN_LABELS, SYNONYMS, canonical, known
from ferops.datasets import label_exports
from ferops.datasets.attributes import USAGE_OF, Attributes, labelled, read_attributes, without_labels
from ferops.datasets.kinds import FORMATS, HEAD_BYTES, IMAGE_ENDINGS, UNREAD_ENDINGS, has_ending, kind_of
from ferops.datasets.name_labels import advice, by_pattern
from ferops.datasets.people import Place, people
from ferops.datasets.release import Release, Rows, open_release, rows_of, wrong_layout
from ferops.datasets.untrusted import KEPT, leave_out
from ferops.errors import FeropsError

_NUMBER = re.compile(r"^\d+[\s._-]+")  # 0_anger, 3 - fear: the word decides
_MISSPELT = 0.75  # difflib's ratio, from which a folder below a class is a label with a typing error, and no person

WANTED = f"a folder for each class, with the names {', '.join(KNOWN_LABELS)} or common words for them"


OwnClasses = Sequence[str] | Literal["any"]
"""Classes to read, known words or not, and no others; `any`: every folder; empty: the known words."""


class Words:
    """Which label a word means: the common words, and those of the user, as `happy=froh,3`; `classes` of his own."""

    def __init__(self, given: Sequence[str] = (), classes: OwnClasses = ()) -> None:
        """Raises FeropsError: one of `given` is malformed, names no known label, or gives a word two meanings; or no
        class can be called as one of `classes` is."""
        self._own: dict[str, str] = {}
        self._any = classes == "any"
        self.chosen = () if classes == "any" else tuple(_checked(word) for word in classes)
        for text in given:
            target, equals, words = text.partition("=")
            label = known(target) or (_own_name(target) if self._any or self.chosen else None)
            if not (equals and words.strip()) or label is None:
                raise FeropsError(
                    f"--map {text!r} is not understood. Write LABEL=WORD,WORD, as in --map happy=froh,3. Labels are "
                    f"{', '.join(KNOWN_LABELS)}"
                )
            for word in filter(None, (word.strip().casefold() for word in words.split(","))):
                if self._own.setdefault(word, label) != label:
                    raise FeropsError(f"--map gives {word!r} two meanings, {self._own[word]} and {label}. Choose one")

    def label(self, word: str) -> str | None:
        """Return the label that `word` means, in any case, with a number before it or without; or None."""
        word = word.strip().casefold()
        bare = _NUMBER.sub("", word)
        label = self._own.get(word) or self._own.get(bare) or known(bare)
        if self.chosen:
            label = label or _own_name(word)
            return label if label in self.chosen else None
        return label

    def innermost(self, folders: Sequence[str]) -> tuple[int, str] | None:
        """Return which of `folders` says the label, and the label. A known word wins over a class of one's own, which
        is the last folder, unless it looks like a known word with a typing error."""
        for index in reversed(range(len(folders))):
            if label := self.label(folders[index]):
                return index, label
        own = self.any_label(folders[-1]) if folders else None
        return (len(folders) - 1, own) if own else None

    def any_label(self, word: str) -> str | None:
        """Return the label that `word` means, one's own if any will do."""
        if (label := self.label(word)) or not self._any or self.nearest(word, cutoff=_MISSPELT):
            return label
        return _own_name(word)

    def nearest(self, word: str, *, cutoff: float = 0.6) -> str | None:
        """Return the understood word that looks most like `word`."""
        understood = [*self._own, *(word for label, others in SYNONYMS.items() for word in (label, *others))]
        return next(
            iter(difflib.get_close_matches(_NUMBER.sub("", word).lower(), understood, n=1, cutoff=cutoff)), None
        )


def _own_name(word: str) -> str | None:
    """Return a word as the name of a class, or None where it cannot be one."""
    name = re.sub(r"[^a-z0-9]+", "_", _NUMBER.sub("", word.strip()).lower()).strip("_")
    return name if CLASS_NAME.fullmatch(name) else None


def _checked(word: str) -> str:
    name = canonical(word)
    if not CLASS_NAME.fullmatch(name):
        raise FeropsError(f"a class cannot be called {word!r}: use lower-case letters, digits and _, a letter first")
    return name


def read_folder(
    path: Path,
    *,
    skipped: Counter[str],
    name: str = "folder",
    attributes: Path | None = None,
    words: Sequence[str] = (),
    classes: OwnClasses = (),
    pattern: str | None = None,
) -> Rows:
    """Read images in the order of their paths, as the source `name`.

    `skipped` counts images without attributes (which come in) and lines without an image, too.

    Args:
        words, classes: the user's own words for labels, and classes, see `Words`.
        pattern: of names that say the label (`name_labels.by_pattern`); a label column of the table is not asked then.

    Raises:
        FeropsError: no such path, a damaged or dangerous archive, no image with a label, folders with names that are
            not understood, attributes that are ambiguous or malformed, or that contradict the folders.
    """
    meanings = Words(words, classes)
    release = open_release(path, wanted=WANTED, skipped=skipped)
    images = list(_images(release, skipped=skipped))
    table = (
        read_attributes(attributes, images, skipped=skipped)
        if attributes
        else _annotated(release, images, meanings, skipped=skipped)
    )
    if pattern:
        named = by_pattern(pattern, images, skipped=skipped)
        images = [image for image in images if image in named]
        table = {
            image: one._replace(label=named[image].label, subject=named[image].subject or one.subject)
            for image in images
            for one in [table.get(image, Attributes())]
        }
    labels, places = _labels(release, images, table, meanings, skipped=skipped)
    table = without_labels(table, labels, means=meanings.any_label, said=skipped) if table else {}
    persons = {} if any(one.subject for one in table.values()) else people(places, said=skipped)
    found: dict[str, dict[str, Any]] = {}
    for image, label in labels.items():
        one = table.get(image, Attributes())
        usages = [USAGE_OF[folder.lower()] for folder in _folders(image) if folder.lower() in USAGE_OF]
        found[image] = {
            "label": label,
            "usage": one.usage or (usages[-1] if usages else None),
            "subject": one.subject or persons.get(image),
            **one.groups,
        }
    return rows_of(release, found, source=name, skipped=skipped)


def _images(release: Release, *, skipped: Counter[str]) -> Iterator[str]:
    """Yield the names of the images: by their ending, and where a name has none by their content."""
    bare = [name for name in release.names if not has_ending(name)]
    kinds = {name: kind_of(content[:HEAD_BYTES]) for name, content in (release.stream(bare) if bare else ())}
    for name in release.names:
        ending = PurePosixPath(name).suffix.lower()
        if ending in IMAGE_ENDINGS or kinds.get(name) in FORMATS:
            yield name
        elif ending in UNREAD_ENDINGS or kinds.get(name):
            kind = kinds.get(name) or ending[1:].upper()
            leave_out(skipped, name, f"{kind} image, which cannot be decoded (convert it to JPEG)")
        else:
            leave_out(skipped, name, f"not an image{f' ({ending})' if has_ending(name) else ''}")


def _annotated(release: Release, images: list[str], meanings: Words, *, skipped: Counter[str]) -> dict[str, Attributes]:
    """Return what an annotation tool's export that lies among the images says, where no folder is named for a class."""
    exports = [name for name in release.names if label_exports.NAMES.fullmatch(PurePosixPath(name).name)]
    if not exports or any(meanings.label(folder) for image in images for folder in _folders(image)):
        return {}
    there, found = set(images), []
    for name in exports:
        for answer in label_exports.parse(release.read(name), where=f"{release.path}, {name}"):
            beside = str(PurePosixPath(name).parent / answer.file)
            found.append(answer._replace(file=beside) if beside in there else answer)
        skipped[f"export of an annotation tool, which says the labels: {name}{KEPT}"] += 1
    return labelled(found, images, where=str(release.path), skipped=skipped)


def _folders(image: str) -> tuple[str, ...]:
    return PurePosixPath(image).parts[:-1]


def _labels(
    release: Release,
    images: list[str],
    table: Mapping[str, Attributes],
    meanings: Words,
    *,
    skipped: Counter[str],
) -> tuple[dict[str, str], dict[str, Place]]:
    """Return the label of every image that has one, and the place of those with a class folder."""
    labels: dict[str, str] = {}
    places: dict[str, Place] = {}
    unknown: Counter[str] = Counter()
    has_column = any(one.label for one in table.values())
    for image in images:
        folders = [folder for folder in _folders(image) if folder.lower() not in USAGE_OF]
        at, label = meanings.innermost(folders) or (None, "")
        word = table[image].label if image in table else None
        said = meanings.any_label(word) if word else None
        if has_column and at is not None and meanings.label(folders[at]) is None:
            at = None  # any folder would do for a class: the table knows better
        if meanings.chosen and said is None and (word or (at is None and folders)):
            leave_out(skipped, image, f"{word or folders[-1]!r} is not among the classes")
        elif word and said is None:
            unknown[word] += 1
        elif at is None and said is not None:
            labels[image] = said
        elif at is None and (has_column or not folders):
            leave_out(skipped, image, "image without a label" if has_column else "image outside any class folder")
        elif at is None or any(meanings.nearest(folder, cutoff=_MISSPELT) for folder in folders[at + 1 :]):
            unknown[folders[-1]] += 1
        else:
            if said not in (None, label):
                raise FeropsError(
                    f"{image} lies in a folder of {label}, but its line says {word!r}. Correct one of them"
                )
            labels[image] = label
            places[image] = Place(tuple(folders[:at]), tuple(folders[at + 1 :]))
    if unknown:
        understood = {_folders(image)[-1] for image in places}
        hint = "" if has_column else advice(images)
        raise FeropsError(_explain(release, unknown, understood, meanings) + (f". {hint}" if hint else ""))
    if not labels:
        hint = "" if table else "; or name a table with the columns file and label: --attributes FILE"
        if not has_column and (said := advice(images)):
            hint += f". {said}"
        raise wrong_layout(release, wanted=WANTED + hint, found="no image in a class folder", skipped=skipped)
    return labels, places


def _explain(release: Release, unknown: Counter[str], understood: set[str], meanings: Words) -> str:
    def nearest(word: str) -> str:
        near = meanings.nearest(word)
        return f"{word!r} ({unknown[word]} images{f', did you mean {near}?' if near else ''})"

    listed = ", ".join(nearest(word) for word, _ in unknown.most_common(20))
    more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
    words = [word for label, others in SYNONYMS.items() for word in (label, *others)]
    return (
        f"{release.path} has folders or labels that are not understood: {listed}{more}. Understood: "
        f"{', '.join(sorted(understood)) or 'none'}. Rename or remove them, or say what they mean: --map happy=froh,3; "
        f"or name your own classes: --classes pain,no_pain. "
        f"The known words are {', '.join(words)}"
    )
