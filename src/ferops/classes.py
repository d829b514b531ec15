"""Names of expressions: the default classes, what data sets publish beside them, and the words for each.

Which classes a model answers is a setting (`data.classes`) and travels with its weights (`config.json: classes`).
"""

from __future__ import annotations

import re

DEFAULT_CLASSES = ("anger", "disgust", "fear", "happy", "sad", "surprised")
"""The classes of the presets, in the order of probabilities, label indices and reports."""

KNOWN_LABELS = (*DEFAULT_CLASSES, "neutral", "contempt")
"""Labels that the readers of published data sets give. Raw data keep all of them, whatever `data.classes` says."""

SYNONYMS = {
    "anger": ("angry",),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy", "joyful"),
    "sad": ("sadness",),
    "surprised": ("surprise",),
    "neutral": (),
    "contempt": ("contemptuous",),
}
"""Each known label and the other words for it that are understood on input."""

CLASS_NAME = re.compile(r"[a-z][a-z0-9_]*")
"""How a class may be called, one's own too: column names are made of it."""

_LABEL_OF = {word: label for label, words in SYNONYMS.items() for word in (label, *words)}


def canonical(word: str) -> str:
    """Return the one way to write a label: `anger` for "Angry", `surprised` for "surprise".

    A word that is not known stays as it is, in lower case without spaces around it: classes of one's own are possible.
    """
    cleaned = word.strip().casefold()
    return _LABEL_OF.get(cleaned, cleaned)


def known(word: str) -> str | None:
    """Return the known label that `word` means, or None."""
    label = canonical(word)
    return label if label in SYNONYMS else None
