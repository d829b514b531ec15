"""The versions that run beside the champion: what is to run, how a canary ended, and how they compare with it."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from ferops.config import Canary
from ferops.records.base import Record
from ferops.records.metrics import Interval

Reason = Literal["errors", "latency", "confidence"]
"""Why a canary was ended."""


class Held(Record):
    """A version that holds an alias beside the champion.

    Attributes:
        tag: of its Bento; null where it could not be packaged.
    """

    version: str
    tag: str | None


class Beside(Record):
    """Which versions the service runs beside the champion's.

    Attributes:
        shadow: answers the same images unseen; null: none does.
        canary: answers some clients; null: none does.
        rules: the block `canary` of params.yaml.
    """

    stored_in: ClassVar[str] = "bentoml/beside.json"
    made_by: ClassVar[str] = "ferops package"

    shadow: Held | None
    canary: Held | None
    rules: Canary


class CanaryEnd(Record):
    """A canary that the service has ended, until the registry knows it.

    Attributes:
        tag: of its Bento; `version` is that of the registry.
        champion: the tag of the Bento that it was compared with.
        reason: what went beyond its bound.
        said: the same for people, with the figures.
        images: that it answered.
        at: when, UTC.
    """

    stored_in: ClassVar[str] = "bentoml/canary-ended.json"
    made_by: ClassVar[str] = "ferops serve --follow"

    tag: str
    version: str
    champion: str
    reason: Reason
    said: str
    images: int
    at: datetime


class Placement(Record):
    """What `ferops promote VERSION --as shadow` or `--as canary` did.

    Attributes:
        before: the version that held the alias; null: none did.
        gates: the version's own verdict when it was registered: passed, overridden or failed.
    """

    model: str
    alias: str
    version: str
    before: str | None
    changed: bool
    gates: str | None


class Disagreement(Record):
    """Faces to which the champion gave one label.

    Attributes:
        label: the champion's.
        faces: their number.
        agreement: the share of them to which the shadow gave the same label.
        mostly: what the shadow answered most often in its place; null: it found no such face, or always agreed.
    """

    label: str
    faces: int
    agreement: float
    mostly: str | None


class ComparedWindow(Record):
    """Consecutive images that both versions answered.

    Attributes:
        start, end: when the first and the last of them came, UTC.
        images: their number; `faces` counts those in which the champion found a face.
        agreement: of the labels of these faces.
        status_agreement: share of the images with the same status.
        confidence_difference: mean absolute difference of the confidences, of faces that both found; null without any.
    """

    start: datetime
    end: datetime
    images: int
    faces: int
    agreement: Interval | None
    status_agreement: float
    confidence_difference: float | None


class Compared(Record):
    """A shadow and the champion on the same images.

    Attributes:
        champion, shadow: their versions.
        whole: all images that both answered, null for none; the preferred face of each counts.
        windows: the same in their order, the newest last.
        dropped: images that the shadow did not get to; `failed` those that it could not answer.
        missed, extra: images in which the champion alone, or the shadow alone, found a face.
        by_label: least agreement first.
        champion_ms, shadow_ms: median and 95th percentile of the work on an image. The shadow works at the lowest
            priority, so its times are an upper bound.
    """

    champion: str
    shadow: str
    whole: ComparedWindow | None
    windows: tuple[ComparedWindow, ...]
    dropped: int
    failed: int
    missed: int
    extra: int
    by_label: tuple[Disagreement, ...]
    champion_ms: tuple[float, float] | None
    shadow_ms: tuple[float, float] | None


class Answered(Record):
    """What one version answered while a canary ran.

    Attributes:
        clients: how many; null where the log has no hashes of them.
        confidence: mean of the preferred faces.
        latency_ms: median and 95th percentile, waiting included.
    """

    version: str
    images: int
    clients: int | None
    no_face: float
    low_confidence: float
    confidence: Interval | None
    latency_ms: tuple[float, float] | None


class RolloutReport(Record):
    """What `ferops rollout` prints: the versions beside the champion, by the log of the service.

    Attributes:
        shadow: null where the log holds no comparison.
        canary, champion: their answers since the canary's first; null where there was none.
    """

    stored_in: ClassVar[str] = "standard output"
    made_by: ClassVar[str] = "ferops rollout --json"

    shadow: Compared | None
    canary: Answered | None
    champion: Answered | None
