"""What the figures do not show, in sentences: the same ones in the report and the model card.

Each depends on what the data tell: who is shown (`subject`), and whether a face was looked for at all (`searched`).
"""

from __future__ import annotations

from typing import Any


def sentences(metrics: dict[str, Any]) -> dict[str, str]:
    """Return all of them by name, for the templates."""
    return {
        "crossing": crossing(metrics),
        "clustering": clustering(metrics),
        "independence": independence(metrics),
        "framing": framing(metrics),
    }


def crossing(metrics: dict[str, Any]) -> str:
    """Say what never crosses the splits: copies that were found, and people only where the data name them."""
    splits = metrics["data"].values()
    known, images = sum(one["known_subject"] for one in splits), sum(one["images"] for one in splits)
    test = metrics["data"]["test"]
    if not known:
        return (
            "No pixel-exact copy crosses the splits, and no altered copy that validation found. The data do not say "
            "who is shown, so pictures of one person may be in several splits."
        )
    if known == images:
        return "No copy that validation found crosses the splits, and no person, as the data name them."
    return (
        "No copy that validation found crosses the splits, and no person whom the data name "
        f"({test['known_subject']} of {test['images']} test images); other people may be in several splits."
    )


def clustering(metrics: dict[str, Any]) -> str:
    """Say in a few words what the clusters of the test split are."""
    test = metrics["data"]["test"]
    if not test["known_subject"]:
        return "copies of one picture; people are not known"
    if test["known_subject"] == test["images"]:
        return "people and copies of one picture"
    return "people where they are known, copies of one picture"


def independence(metrics: dict[str, Any]) -> str:
    """Say why the intervals may be too narrow; empty where the person is known on every test image."""
    test = metrics["data"]["test"]
    unknown = test["images"] - test["known_subject"]
    if not unknown:
        return ""
    return (
        f"On {unknown} of {test['images']} test images the person is not known, and each of them counts as independent "
        "of the others: if people appear on several, the intervals are too narrow."
    )


def framing(metrics: dict[str, Any]) -> str:
    """Say whether the faces that were judged are framed as the service frames them."""
    return " ".join([_tight(metrics), *_unfound(metrics), *_small(metrics)])


def _tight(metrics: dict[str, Any]) -> str:
    n, tight, unfound = metrics["n"], metrics["n_tight"], metrics["n_unfound"]
    if not tight:
        if unfound:
            return f"{n - unfound} of {n} test faces were found by the detector and aligned, as the service does it."
        return (
            "The figures hold for faces that the detector of this pipeline found and aligned, as the service does it."
        )
    if tight == n and not metrics["n_no_face"]:
        return (
            f"All {n} test faces are tight crops, judged whole: no face was looked for and none was aligned. The "
            "service looks for faces in every picture and aligns them: what its framing does to these figures, and how "
            "often it finds no face, was not measured."
        )
    return (
        f"{tight} of {n} test faces are tight crops, judged whole; the other {n - tight - unfound} were found and "
        "aligned as the service does it. The service looks for faces in every picture and aligns them: what its "
        "framing does to the tight crops, and in how many of them it finds no face, was not measured."
    )


def _unfound(metrics: dict[str, Any]) -> list[str]:
    n, unfound = metrics["n"], metrics["n_unfound"]
    text = (
        f"In {unfound} of {n} test pictures no face was found: they were judged whole, where the service answers that "
        "there is no face, or takes one that is implausible in a tight crop."
    )
    return [text] if unfound else []


def _small(metrics: dict[str, Any]) -> list[str]:
    small = metrics["n_small_face"]
    text = (
        f"{small} test images whose face is smaller than preprocess.min_face_px were left out; the service answers "
        "for such faces all the same."
    )
    return [text] if small else []
