"""Folders of people: one above or below the class folders (`anna/happy/1.jpg`, `happy/anna/1.jpg`) names the person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from ferops.datasets.untrusted import KEPT


class Place(NamedTuple):
    """The folders of an image without those of official splits: above its class folder, and below it."""

    above: tuple[str, ...]
    below: tuple[str, ...]


def people(places: Mapping[str, Place], *, said: Counter[str]) -> dict[str, str]:
    """Return image -> the person that its folders name, of the images that have one.

    Below the class it is the first folder; else, above it, the first level with several folders: whatever all images
    share is the collection's name. Several sessions of a person (`anna/monday/happy/1.jpg`) are one person.
    """
    below = {image: place.below[0] for image, place in places.items() if place.below}
    if below:
        said[f"folder below the class: taken for the person{KEPT}"] += len(below)
        return below
    shared = _shared([place.above for place in places.values()])
    above = {image: place.above[shared] for image, place in places.items() if len(place.above) > shared}
    if len(set(above.values())) < 2:
        return {}
    said[f"folder above the class: taken for the person{KEPT}"] += len(above)
    return above


def _shared(paths: list[tuple[str, ...]]) -> int:
    """Return how many folders all paths begin with."""
    count = 0
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1:
            break
        count += 1
    return count
