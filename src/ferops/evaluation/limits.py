"""What the figures do not show, in sentences: the same ones in the report and the model card.

Each depends on what the data say: who is shown (`subject`), and whether a face was looked for at all (`searched`).
"""

from __future__ import annotations

from statistics import NormalDist

from ferops.export.views import count
from ferops.formats import figure, interval, percent
from ferops.records.metrics import Interval, Metrics

_SERVICE = (
    "The service looks for faces in every image and aligns them: the end-to-end figures show what that changes, and "
    "how often it finds no face."
)


def sentences(metrics: Metrics) -> dict[str, str]:
    """Return all of them by name, for the templates."""
    return {
        "crossing": crossing(metrics),
        "crossvalidated": crossvalidated(metrics),
        "clustering": clustering(metrics),
        "independence": independence(metrics),
        "framing": framing(metrics),
        "augmentation": augmentation(metrics),
        "scaling": scaling(metrics),
        "power": power(metrics),
        "taken": taken(metrics),
        "costing": costing(metrics),
        "covering": covering(metrics),
        "ceiling": ceiling(metrics),
        "calibrating": calibrating(metrics),
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
        return "No copy that validation found crosses the splits, and no person does, by the names in the data."
    return (
        "No copy that validation found crosses the splits, and no person named in the data does "
        f"({test.known_subject} of {test.images} test images name one); people without a name may be in several splits."
    )


def crossvalidated(metrics: Metrics) -> str:
    """Say what all faces show, each answered by a model that has not seen it; empty without cross-validation."""
    found = metrics.crossvalidation
    if found is None:
        return ""
    minus = found.candidate_minus_baseline
    return (
        f"Cross-validated: each of all {found.n:,} faces was answered by a model that had not seen it, the candidate "
        f"or one of {found.folds - 1} others, trained by the same settings on as many faces. "
        f"{interval(found.candidate.accuracy)} % are right, of the baseline's answers "
        f"{interval(found.baseline.accuracy)} %: a difference of {interval(minus.accuracy, signed=True)} points of "
        f"accuracy, and of {interval(minus.macro_f1, signed=True)} of macro-F1."
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


def scaling(metrics: Metrics) -> str:
    """Say whether the temperature helps here: it was chosen on validation, and may be wrong for the test split."""
    candidate = metrics.candidate
    if candidate.temperature == 1.0:
        return "No temperature is used: on validation faces that it was not fitted to, none lowered the log loss."
    before, after = candidate.uncalibrated.log_loss.value, candidate.log_loss.value
    if before is not None and after is not None and after > before:
        return (
            f"On this test split the temperature does harm: the log loss is {after:.3f} with it and {before:.3f} "
            "without. The validation split asked for it; its faces may differ from these."
        )
    return ""


def power(metrics: Metrics) -> str:
    """Say how small a difference between two models this test split can show: found in four of five such splits."""
    minus = metrics.candidate_minus_champion or metrics.candidate_minus_baseline
    low, high = minus.accuracy.low, minus.accuracy.high
    if low is None or high is None:
        return "This test split has too few clusters to say how small a difference between two models it could show."
    normal = NormalDist()
    bound = normal.inv_cdf((1 + metrics.confidence_level) / 2)
    smallest = (bound + normal.inv_cdf(0.8)) * (high - low) / (2 * bound)
    return (
        f"Two models that differ by less than about {100 * smallest:.1f} points of accuracy cannot be told apart "
        f"reliably by {metrics.n:,} test faces: of five such splits one or more would show no difference."
    )


def costing(metrics: Metrics) -> str:
    """Say what errors cost per face, and how much other answers would save; empty without costs and priors."""
    found = metrics.decision
    if found is None:
        return ""
    where = "at the class frequencies of evaluate.priors" if found.priors else "at the test split's class frequencies"
    return (
        "Where the likeliest class is answered, as the service does, an answer costs "
        f"{figure(found.cost_of_likeliest)} per face {where}. Answering what has the lowest expected cost would cost "
        f"{figure(found.cost)}, "
        f"{figure(found.saved)} less, and change {percent(found.changed_share)} of the answers."
    )


def covering(metrics: Metrics) -> str:
    """Say whether the sets of classes keep their promise, and for which class least; empty without sets."""
    sets = metrics.sets
    if sets is None:
        return ""
    known = {name: found.value for name, found in sets.by_class.items() if found.value is not None}
    worst = min(known, key=lambda name: known[name])
    kept = "" if sets.coverage.high is None or sets.coverage.high >= sets.wanted else " The promise is not kept here."
    return (
        f"Beside the label the model gives a set of classes. Its threshold, from the validation split, aims at sets "
        f"that contain the label for {percent(sets.wanted, 0)} of the faces. Here they do for "
        f"{interval(sets.coverage)} %, with {figure(sets.mean_size, 2)} classes on average.{kept} The promise is about "
        f"all faces together: {worst} is lowest, with {percent(known[worst])}."
    )


def calibrating(metrics: Metrics) -> str:
    """Say whether another way to calibrate is better than the temperature, on validation; empty without trials."""
    trials: dict[str, Interval] = {trial.method: trial.log_loss_minus_temperature for trial in metrics.calibrations}
    if not trials:
        return ""
    better = [name for name in ("vector", "isotonic") if (trials[name].high or 0.0) < 0]
    if not better:
        return "No other way to calibrate is better than the temperature beyond chance."
    best = min(better, key=lambda name: trials[name].value or 0.0)
    words = {"vector": "vector scaling", "isotonic": "isotonic regression"}[best]
    return (
        f"Beyond chance {words} has a lower log loss than the temperature, by {figure(_negated(trials[best]))}. It is "
        "not served, since it would change answers, too: the network leans to some classes. See train.class_weights."
    )


def _negated(found: Interval) -> Interval:
    def minus(end: float | None) -> float | None:
        return None if end is None else -end

    return Interval(value=minus(found.value), low=minus(found.high), high=minus(found.low))


def ceiling(metrics: Metrics) -> str:
    """Say how well one annotator does what the candidate does; empty without votes."""
    found = metrics.annotators
    if found is None:
        return ""
    label, majority = found.label, found.majority
    text = (
        f"On the {found.n:,} test faces with votes ({found.votes_per_face:.1f} on average) one annotator gives the "
        f"published label in {interval(label.annotator)} %, the candidate in {interval(label.candidate)} %. "
        f"By what most of the other annotators say, one of them is right in {interval(majority.annotator)} %, which is "
        f"the label ceiling, and the candidate in {interval(majority.candidate)} %."
    )
    if found.mistakes_of_most is not None:
        text += (
            f" Of the candidate's {found.mistakes:,} mistakes, {percent(found.mistakes_of_most, 0)} are what more than "
            f"half of the annotators answered, and {percent(found.mistakes_of_one, 0)} what at least one did."
        )
    return text


def taken(metrics: Metrics) -> str:
    """Say what the baseline is where it was taken as it is; empty where it was trained beside the candidate."""
    baseline = metrics.provenance.params.get("models", {}).get("baseline", {})
    if baseline.get("epochs", 1):
        return ""
    return (
        f"The baseline is the model `{baseline['learns_from']}` as it is, judged in FP32. It was trained on other data "
        "by another split: if some of these test images were among them, it looks better here than it is."
    )
