"""Predictions as lines of a terminal, and a run in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ferops.escape import inline
from ferops.inference.stream import Result

_NAME = 40
"""Characters of an image's name; longer ones lose their beginning, because the file's own name is at the end."""


class Table:
    """One line for each face, in columns; `longest` is the length of the longest name."""

    def __init__(self, longest: int, classes: tuple[str, ...]) -> None:
        self._name = min(longest, _NAME)
        self._label = max(len(name) for name in (*classes, "unreadable"))

    def lines(self, result: Result) -> Iterator[str]:
        """Yield the lines of an image."""
        name, found = self._cut(inline(result.source)), result.prediction
        if found is None:
            yield f"{name:<{self._name}}  {'unreadable':<{self._label}}  {inline(result.reason)}"
        elif not found.faces:
            yield f"{name:<{self._name}}  no face"
        else:
            for number, face in enumerate(found.faces, start=1):
                counted = f"  face {number} of {len(found.faces)}" if len(found.faces) > 1 else ""
                unsure = "" if face.status == "ok" else "  unsure"
                shown = name if number == 1 else ""
                yield f"{shown:<{self._name}}  {face.label:<{self._label}}  {face.confidence:>4.0%}{counted}{unsure}"

    def _cut(self, name: str) -> str:
        return name if len(name) <= self._name else f"…{name[1 - self._name :]}"


class Tally:
    """Counts what came out; with `labelled`, the expressions, too."""

    def __init__(self, *, labelled: bool = True) -> None:
        self._labelled = labelled
        self.images = self.unreadable = 0
        self._labels: Counter[str] = Counter()
        self._without = 0

    def add(self, result: Result) -> None:
        self.images += 1
        if result.prediction is None:
            self.unreadable += 1
            return
        self._without += not result.prediction.faces
        self._labels.update(face.label for face in result.prediction.faces)

    def __str__(self) -> str:
        labels = ", ".join(f"{count:,} {label}" for label, count in self._labels.most_common())
        text = f"{_counted(self.images, 'image')}, {_counted(self._labels.total(), 'face')}"
        text += f" ({labels})" if labels and self._labelled else ""
        text += f"; {self._without:,} without a face" if self._without else ""
        return f"{text}; {self.unreadable:,} could not be read" if self.unreadable else text


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
