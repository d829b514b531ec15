"""What the stage `explain` found: reports/explain/summary.json."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.records.base import Record
from ferops.records.metrics import Interval
from ferops.records.provenance import Provenance


class Coverage(Record):
    """With the share `coverage` of the answers kept, those of at least `confidence`: the accuracy of what is kept."""

    coverage: float
    confidence: float
    accuracy: Interval


class Selection(Record):
    """The mean error over all coverages, the surest answers first: 0-1, the lower the better.

    Attributes:
        area_best: with every right answer surer than every wrong one.
        area_random: with confidences that say nothing: the share of wrong answers.
    """

    area: float
    area_best: float
    area_random: float
    at: tuple[Coverage, ...]


class ClassRanking(Record):
    """One class against the rest, by its probability; `share` is what a random ranking's average precision would be."""

    share: float
    average_precision: Interval
    roc_area: Interval


Method = Literal["t-SNE", "PaCMAP"]


class Map(Record):
    """A projection of the features, by PaCMAP too where `ferops[maps]` is installed.

    Attributes:
        trustworthiness: 0-1, of scikit-learn: what is near on the map was near in the features.
        agreement: share of the ten nearest points with the same label.
    """

    method: Method = "t-SNE"
    dimensions: int
    trustworthiness: float
    agreement: float


class HeatCheck(Record):
    """Deletion and insertion by the order of one kind of map: mean probability of the answer, 0-1.

    Attributes:
        deletion: with ever more of the face blurred, what the map marks first; the lower the better.
        insertion: with ever more shown; the higher the better.
        gap: insertion minus deletion, -1 to 1.
        lead: the gap of `layer_cam` minus this one, on the same faces; 0 for itself.
    """

    deletion: float
    insertion: float
    gap: Interval
    lead: Interval


class Heat(Record):
    """The check of the heat maps, on `faces` test faces.

    Attributes:
        checks: by kind: `layer_cam`, `grad_cam`, and the controls: `centre`, a spot in the middle of the face;
            `unlearnt`, LayerCAM of the same network with random weights (Adebayo et al. 2018); and `random`, noise.
        same_without_learning: mean rank correlation of `layer_cam` and `unlearnt`, -1 to 1; near 1, a map shows the
            picture and not what was learnt.
    """

    faces: int
    checks: dict[str, HeatCheck]
    same_without_learning: float


class ExplainSummary(Record):
    """The explanation in short.

    Attributes:
        verdict: whether the heat maps can be used, a sentence.
        faces: on the maps, drawn class by class from the `test_faces`.
        agreement: share of the ten nearest in the features with the same label, before any projection.
        heat: None for a network without a spatial feature map.
    """

    stored_in: ClassVar[str] = "reports/explain/summary.json"
    made_by: ClassVar[str] = "ferops explain"

    stage: Literal["explain"] = "explain"
    provenance: Provenance
    model: str
    architecture: str
    verdict: str
    test_faces: int
    faces: int
    agreement: float
    maps: tuple[Map, ...]
    heat: Heat | None
    selection: Selection
    rankings: dict[str, ClassRanking]
    seconds: float
