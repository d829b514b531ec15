from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from ferops import uses
from ferops.classes import DEFAULT_CLASSES
from ferops.inference.answer import answer, info
from ferops.inference.prediction import LANDMARKS, Face, Prediction
from ferops.model_config import ExportConfig, read_model_config
from ferops.records.release import Release
from sample_images import quick_params

RELEASE = Release(
    tag="ferops:v3",
    bento_name="ferops",
    model_version="3",
    model_sha256="f" * 64,
    data_version="abc",
    purpose="research",
    limits=quick_params().serve,
)


def test_an_answer_names_every_number() -> None:
    face = Face(
        box=(1.04, 2.06, 30, 40),
        landmarks=np.arange(10, dtype=np.float32).reshape(5, 2),
        probabilities=np.array([0.1, 0.2, 0.3, 0.25, 0.1, 0.05], np.float32),
        label="fear",
        confidence=0.3,
        status="low_confidence",
        detection_score=0.99,
        set=("fear", "happy"),
    )
    said = json.loads(
        answer(
            Prediction(faces=(face,), classes=DEFAULT_CLASSES, width=100, height=50, left_out=47),
            release=RELEASE,
            first_frame_only=True,
            timing_ms={"predict": 12.3456},
        ).model_dump_json()
    )
    assert (said["model_version"], said["data_version"]) == ("3", "abc")
    assert (said["width"], said["height"], said["timing_ms"]) == (100, 50, {"predict": 12.35})
    assert said["status"] == said["faces"][0]["status"] == "low_confidence"
    assert said["faces"][0]["box"] == {"x1": 1.0, "y1": 2.1, "x2": 30.0, "y2": 40.0}
    assert list(said["faces"][0]["landmarks"]) == list(LANDMARKS)
    assert said["faces"][0]["landmarks"]["nose"] == [4.0, 5.0]
    assert list(said["faces"][0]["probabilities"]) == said["classes"] == list(DEFAULT_CLASSES)
    assert sum(said["faces"][0]["probabilities"].values()) == pytest.approx(1)
    assert said["faces"][0]["set"] == ["fear", "happy"]
    assert (said["faces_found"], said["faces_returned"], said["first_frame_only"]) == (48, 1, True)
    assert said["notice"] == uses.DISCLAIMER


def test_info_names_the_uses_and_the_declared_purpose(make_export: Any) -> None:
    said = info(release=RELEASE, config=read_model_config(make_export(tta="flip"), ExportConfig)).as_json()
    assert said["tta"] == "flip"
    assert said["purpose"] == "research"
    assert (said["model_version"], said["tag"]) == ("3", "ferops:v3")
    assert said["synthetic_data"] is True
    prohibited = " ".join(said["prohibited_uses"])
    for word in ("work", "education", "Hiring", "5(1)(f)"):
        assert word in prohibited
    assert said["notice"] == uses.DISCLAIMER
    assert said["limits"]["max_faces"] == RELEASE.limits.max_faces
