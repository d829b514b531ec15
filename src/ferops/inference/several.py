"""The answers of the service about several images: a batch, and the frames of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ferops.inference.answer import Answer, FaceAnswer, face_answers
from ferops.inference.prediction import Status
from ferops.records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ferops.inference.prediction import Prediction


class BatchImage(Record):
    """One image of a batch.

    Attributes:
        name: as it was sent; of a zip's member, `ZIP/MEMBER`.
        answer: as POST /predict gives it; None for an image that has none.
        code: why it has none, for programs, as POST /predict has it; empty for one that has.
        error: the same for people.
    """

    name: str
    answer: Answer | None = None
    code: str = ""
    error: str = ""


class BatchAnswer(Record):
    """The answer of POST /predict/batch.

    Attributes:
        images: in the order of the form; a zip's members in its place, by name.
        images_found: how many there are; those without an answer, too.
        images_answered: how many have an answer.
        left_out: reason -> number of a zip's members that are ignored.
        max_images, max_mb: the limits; a batch beyond them is refused as a whole.
    """

    stored_in: ClassVar[str] = "POST /predict/batch"
    made_by: ClassVar[str] = "ferops serve"

    images: tuple[BatchImage, ...]
    images_found: int
    images_answered: int
    left_out: dict[str, int]
    max_images: int
    max_mb: float


class StreamFace(FaceAnswer):
    """One face of a frame; label, confidence, status and probabilities are smoothed over time.

    Attributes:
        track: its number from 1, the same as long as it is followed; None until a second frame confirms a new face.
    """

    track: int | None


class StreamAnswer(Record):
    """The answer of WS /stream about a frame.

    Attributes:
        frame: its number among those that came, from 1.
        frames_dropped: how many came since the last answer and were not looked at: a newer one was there.
        faces: those of the `faces_found` that the limit `serve.max_faces` leaves, by track.
        width, height: of the frame, in pixels.
        timing_ms: time for decoding and prediction.
    """

    stored_in: ClassVar[str] = "WS /stream"
    made_by: ClassVar[str] = "ferops serve"

    frame: int
    frames_dropped: int
    status: Status
    faces: tuple[StreamFace, ...]
    faces_found: int
    width: int
    height: int
    timing_ms: dict[str, float]


def stream_answer(
    prediction: Prediction,
    tracks: Sequence[int | None],
    *,
    frame: int,
    frames_dropped: int,
    max_faces: int,
    timing_ms: dict[str, float],
) -> StreamAnswer:
    """Return the answer about a frame.

    Args:
        prediction: of the frame.
        tracks: of its faces, in their order.
    """
    faces = zip(face_answers(prediction), tracks, strict=True)
    return StreamAnswer(
        frame=frame,
        frames_dropped=frames_dropped,
        status=prediction.status,
        faces=tuple(StreamFace(**dict(face), track=track) for face, track in faces)[:max_faces],
        faces_found=len(prediction.faces),
        width=prediction.width,
        height=prediction.height,
        timing_ms={name: round(value, 2) for name, value in timing_ms.items()},
    )
