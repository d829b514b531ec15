"""Two answers to one image become rows: which faces are the same, what each version said of them."""

from __future__ import annotations

from datetime import UTC, datetime

import answers
from ferops.config import Params
from ferops.inference.answer import Answer, FaceAnswer, answer
from ferops.rollout.shadow import PairRow, overlap, pair_rows

TIME = datetime(2026, 11, 29, 12, tzinfo=UTC)


def said(params: Params, *faces: tuple[str, float, float], version: str = "3") -> Answer:
    """An answer with faces of (label, confidence, left edge)."""
    found = answers.prediction(*(answers.face(label, confidence=c, x=x) for label, c, x in faces))
    release = answers.release(params.serve).model_copy(update={"model_version": version})
    return answer(found, release=release, first_frame_only=False, timing_ms={"decode": 1.0, "predict": 4.0})


def rows(champion: Answer, shadow: Answer | None) -> list[PairRow]:
    return pair_rows(
        champion,
        shadow,
        shadow_version="4",
        outcome="compared" if shadow else "dropped",
        path="/predict",
        time=TIME,
    )


def test_faces_are_matched_by_their_boxes_whatever_their_order(quick_params: Params) -> None:
    champion = said(quick_params, ("happy", 0.9, 0), ("sad", 0.6, 60))
    shadow = said(quick_params, ("angry", 0.5, 62), ("happy", 0.8, 1), version="4")
    first, second = rows(champion, shadow)
    assert (first.face, first.champion_label, first.shadow_label) == (1, "happy", "happy")
    assert (second.face, second.champion_label, second.shadow_label) == (2, "sad", "angry")
    assert (first.champion_confidence, first.shadow_confidence) == (0.9, 0.8)
    assert (first.champion_version, first.shadow_version) == ("3", "4")
    assert (first.champion_ms, first.shadow_ms) == (5.0, 5.0)


def test_a_face_that_one_of_them_missed_has_a_row_too(quick_params: Params) -> None:
    found = rows(said(quick_params, ("happy", 0.9, 0)), said(quick_params, ("happy", 0.9, 200)))
    assert [(row.face, row.champion_label, row.shadow_label) for row in found] == [
        (1, "happy", None),
        (0, None, "happy"),
    ]


def test_an_image_without_a_face_or_without_an_answer_has_one_row(quick_params: Params) -> None:
    (row,) = rows(said(quick_params), said(quick_params))
    assert (row.face, row.champion_status, row.shadow_status, row.outcome) == (0, "no_face", "no_face", "compared")
    (row,) = rows(said(quick_params, ("sad", 0.6, 0)), None)
    assert (row.outcome, row.shadow_status, row.shadow_ms, row.champion_label) == ("dropped", None, None, "sad")


def test_overlap_is_that_of_the_areas(quick_params: Params) -> None:
    def box(x: float) -> FaceAnswer:
        return said(quick_params, ("happy", 0.9, x)).faces[0]

    assert overlap(box(0).box, box(0).box) == 1
    assert overlap(box(0).box, box(15).box) == 1 / 3  # half of each of two boxes of 30 px
    assert overlap(box(0).box, box(30).box) == 0
