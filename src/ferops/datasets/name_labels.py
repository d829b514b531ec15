"""Labels and people in the names of files, by a pattern of the user's; and the pattern that names call for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from ferops.classes import SYNONYMS
from ferops.datasets.attributes import Attributes
from ferops.datasets.untrusted import leave_out
from ferops.errors import FeropsError

_PUBLISHED = {
    "jaffe": r"[A-Z]{2}\.(AN|DI|FE|HA|NE|SA|SU)\d\.\d+\.\w+",
    "rafdb": r"(train|test)_\d{4,5}(_aligned)?\.\w+",
    "ckplus": r"S\d{3}_\d{3}_\d{8}\.\w+",
}
_MOST = 0.8  # of the names must fit for advice
_WORDS = tuple(word for label, others in SYNONYMS.items() for word in (label, *others))


def by_pattern(pattern: str, images: Iterable[str], *, skipped: Counter[str]) -> dict[str, Attributes]:
    """Return what the names of the images say: the groups `label` and, if the pattern has one, `subject`.

    The pattern (Python's `re`) is searched for in the path below the imported folder. A name that it does not fit is
    left out.

    Raises:
        FeropsError: it is no pattern, has no group `label`, or fits no name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise FeropsError(f"--label-pattern {pattern!r} is no regular expression: {error}") from error
    if not {"label"} <= set(compiled.groupindex) <= {"label", "subject"}:
        raise FeropsError(
            f"--label-pattern {pattern!r} has the groups {', '.join(compiled.groupindex) or 'none'}; wanted "
            "(?P<label>...), and (?P<subject>...) for the person"
        )
    found, others = {}, []
    for image in images:
        match = compiled.search(image)
        said = match.groupdict() if match else {}
        if said.get("label"):
            found[image] = Attributes(label=said["label"], subject=said.get("subject") or None)
        else:
            others.append(image)
    if not found:
        examples = ", ".join(repr(name) for name in others[:3])
        raise FeropsError(f"--label-pattern {pattern!r} fits none of {len(others)} names ({examples} ...)")
    for image in others:
        leave_out(skipped, image, "name does not fit --label-pattern")
    return found


def advice(images: Sequence[str]) -> str:
    """Return what to type for images whose names obviously say what they show, or ""."""
    names = [PurePosixPath(image).name for image in images]
    for source, pattern in _PUBLISHED.items():
        if _share(re.compile(pattern, re.IGNORECASE), names) >= _MOST:
            return f"The names are those of {source}: ferops import {source} PATH"
    # The longer word first: `happiness` is not `happy`
    alternatives = "|".join(sorted(_WORDS, key=len, reverse=True))
    words = re.compile(rf"(?<![a-z])({alternatives})(?![a-z])", re.IGNORECASE)
    if _share(words, names) < _MOST:
        return ""
    there = dict.fromkeys(match[1].lower() for match in map(words.search, names) if match)
    return (
        f"The names seem to say it: --label-pattern '(?i)(?P<label>{'|'.join(sorted(there, key=len, reverse=True))})'"
    )


def _share(pattern: re.Pattern[str], names: Sequence[str]) -> float:
    return sum(pattern.search(name) is not None for name in names) / max(len(names), 1)
