"""What the stage `register` decides (reports/register/summary.json), and what a promotion changed."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferops.config import Rule
from ferops.formats import rounded
from ferops.records.base import Record
from ferops.records.provenance import Provenance


class Gate(Record):
    """The outcome of one gate.

    Attributes:
        observed: the figure that was compared; None where there is none.
        wanted: the bound, in words.
        reason: what was found, in words.
        overridden: a person's reason for letting a failed gate pass.
        margin: how far within the bound the figure lies, below 0 how far beyond it; None where there is no figure.
    """

    name: str
    passed: bool
    observed: float | None
    wanted: str
    reason: str
    overridden: str | None = None
    margin: float | None = None

    @property
    def verdict(self) -> str:
        """`passed`, `overridden` or `failed`."""
        return "passed" if self.passed else "overridden" if self.overridden else "failed"

    @property
    def margin_text(self) -> str:
        """The margin as text, empty where there is none."""
        return "" if self.margin is None else rounded(self.margin, signed=True)

    @property
    def blocks(self) -> bool:
        """Whether the gate keeps the candidate from becoming a version."""
        return not self.passed and self.overridden is None


class FirstLook(Record):
    """The rules by which the first candidate was judged on a split, for one registered model; who, and when (UTC)."""

    model: str
    gates: dict[str, Rule]
    by: str
    at: str


class PolicyChange(Record):
    """How the rules differ from those of the first look at the test split; who gave which reason, and when (UTC)."""

    by: str
    at: str
    why: str
    changes: tuple[str, ...]


class RegisterSummary(Record):
    """What the gates decided, and the version that the candidate became.

    Attributes:
        version: of the registered model; None if a gate blocks.
        run_id: the MLflow run that trained the candidate.
        tracking_uri: `sqlite:///mlflow.db` is the project's own store.
        failed: gate -> reason, of the gates that block.
        page: of the version, or the run, in MLflow.
        promote: the command that makes the version champion.
        looks: candidates judged on this test split so far, this one included.
        policy_change: None where the gates are those of the first look, or their change has no reason.
    """

    stored_in: ClassVar[str] = "reports/register/summary.json"
    made_by: ClassVar[str] = "ferops register"

    stage: Literal["register"] = "register"
    provenance: Provenance
    version: str | None
    alias: str | None
    model_uri: str | None
    run_id: str
    tracking_uri: str
    gates_passed: int
    gates_overridden: int
    gates_failed: int
    failed: dict[str, str]
    page: str
    promote: str | None
    gates: tuple[Gate, ...]
    looks: int = 1
    policy_change: PolicyChange | None = None


class Promotion(Record):
    """What `ferops promote` did; `changed` is false where the version was the champion already.

    Attributes:
        promoted_from: the former champion's version.
        gates: the version's own verdict when it was registered: passed, overridden or failed.
        synthetic: whether it has seen only rendered faces.
    """

    model: str
    champion: str
    promoted_from: str | None
    changed: bool
    gates: str | None
    synthetic: bool
