"""What the figures do not show, in sentences: the same ones in the report and the model card.

Each depends on what the data say: who is shown (`subject`), and whether a face was looked for at all (`searched`).
"""

from __future__ import annotations

from ferops.export.views import count
from ferops.records.metrics import Metrics

_SERVICE = (
    "The service looks for faces in every image and aligns them: the end-to-end figures show what that changes, and "
    "how often it finds no face."
)


def sentences(metrics: Metrics) -> dict[str, str]:
    """Return all of them by name, for the templates."""
    return {
        "crossing": crossing(metrics),
        "clustering": clustering(metrics),
        "independence": independence(metrics),
        "framing": framing(metrics),
        "augmentation": augmentation(metrics),
    }


def crossing(metrics: Metrics) -> str:
    """Say what never crosses the splits: copies that were found, and people only where the data name them."""
    splits = metrics.data.values()
    known, images = sum(one.known_subject for one in splits), sum(one.images for one in splits)
    test = metrics.data["test"]
    if not known:
        return (
            "No pixel-exact copy crosses the splits, and no altered copy that validation found. The data do not say "
            "who is shown, so images of one person may be in several splits."
        )
    if known == images:
        return "No copy that validation found crosses the splits, and no person, as the data name them."
    return (
        "No copy that validation found crosses the splits, and no person whom the data name "
        f"({test.known_subject} of {test.images} test images); other people may be in several splits."
    )


def clustering(metrics: Metrics) -> str:
    """Say in a few words what the clusters of the test split are."""
    test = metrics.data["test"]
    if not test.known_subject:
        return "copies of one image; people are not known"
    if test.known_subject == test.images:
        return "people and copies of one image"
    return "people where they are known, copies of one image"


def independence(metrics: Metrics) -> str:
    """Say why the intervals may be too narrow; empty where the person is known on every test image."""
    test = metrics.data["test"]
    unknown = test.images - test.known_subject
    if not unknown:
        return ""
    return (
        f"On {unknown} of {test.images} test images the person is not known, and each of them counts as independent "
        "of the others: if people appear on several, the intervals are too narrow."
    )


def framing(metrics: Metrics) -> str:
    """Say whether the packed faces are framed as the service frames them."""
    n, tight, unfound, small = metrics.n, metrics.n_tight, metrics.n_unfound, metrics.n_small_face
    aligned = n - tight - unfound
    if tight == n and not metrics.n_no_face:
        text = f"All {n} test faces are tight crops, kept whole: no face was looked for, none was aligned. {_SERVICE}"
    elif tight:
        text = (
            f"{tight} of {n} test faces are tight crops, kept whole; the other {aligned} were found and aligned as the "
            f"service does it. {_SERVICE}"
        )
    elif unfound:
        text = f"{aligned} of {n} test faces were found by the detector and aligned, as the service does it."
    else:
        text = "The test faces were found by the detector of this pipeline and aligned, as the service does it."
    if unfound:
        text += (
            f" In {unfound} of {n} test images no face was found: they were kept whole, where the service answers that "
            "there is no face, or takes one that is implausible in a tight crop."
        )
    if small:
        text += (
            f" {small} test images whose face is smaller than preprocess.min_face_px were left out; the service "
            "answers for such faces all the same."
        )
    return text


def augmentation(metrics: Metrics) -> str:
    """Say what test-time augmentation means for figures and cost; empty without it."""
    tta = metrics.candidate.tta
    if tta == "off":
        return ""
    return (
        f"Test-time augmentation (tta: {tta}): each answer of the candidate is the mean over {count(tta)} views of the "
        "face, here, end to end and in the service, and the temperature was fitted to that mean. The time a face is "
        "that of all views. The baseline answers without."
    )
