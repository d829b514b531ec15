"""What `ferops card A B --json` prints: two model cards, and what changed between them."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.records.base import Record
from ferops.records.metrics import Interval
from ferops.records.register import Gate


class FigureChange(Record):
    """A figure of both cards.

    Attributes:
        kind: a `share`, 0-1, or a `number`; `change` is in the same unit, `after` minus `before`.
        verdict: `better` or `worse` where the two intervals have nothing in common, `unclear` where they have, or where
            the figures are of other test faces and cannot be compared.
    """

    name: str
    kind: Literal["share", "number"]
    before: Interval
    after: Interval
    change: float | None
    verdict: Literal["better", "worse", "unclear"]


class GateChange(Record):
    """A gate of either card; None where a card has no such gate."""

    name: str
    before: Gate | None
    after: Gate | None


class CardDiff(Record):
    """What changed from one card to another.

    Attributes:
        before, after: what the cards are about: a version, or the name of a run.
        comparable, reasons: whether the figures are of the same test faces, and if not why.
        facts: model, classes, data and origin: name -> both texts, of those that differ.
        settings: params.yaml: name -> both values, of those that differ; None where a run has no such setting.
        figures: every figure of the candidates that both cards have.
        gates: whose verdict or bound differs.
    """

    stored_in: ClassVar[str] = "standard output"
    made_by: ClassVar[str] = "ferops card A B --json"

    before: str
    after: str
    comparable: bool
    reasons: tuple[str, ...]
    facts: dict[str, tuple[str, str]]
    settings: dict[str, tuple[str | None, ...]]
    figures: tuple[FigureChange, ...]
    gates: tuple[GateChange, ...]
