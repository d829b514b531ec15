from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from scipy.special import softmax

from ferops.errors import FeropsError
from ferops.export import files
from ferops.export.runtime import MAX_BATCH, Classifier
from ferops.model_config import ExportConfig
from ferops.training import data, model


@pytest.fixture(scope="module")
def folder(project, tmp_path_factory):
    """An export with the FP32 file only: made in a second."""
    folder = tmp_path_factory.mktemp("exported")
    net, config = model.load(project.model("candidate"))
    files.write_onnx(net, folder / "model.onnx")
    extra = {"served": "model.onnx", "min_confidence": 0.9, "margin": 0.1, "choose": "largest", "low_confidence": 0.5}
    written = ExportConfig.model_validate(config.model_dump() | extra | {"temperature": 1.7})
    (folder / "config.json").write_text(written.model_dump_json())
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_logits_do_not_depend_on_the_batch(folder, project):
    classifier = Classifier(folder, threads=1)
    faces = np.concatenate([np.array(data.read_faces(project, "val").images)] * 2)
    assert len(faces) > MAX_BATCH
    logits = classifier.logits(faces)
    assert logits.dtype == np.float32
    assert logits.shape == (60, 6)
    assert np.allclose(logits, np.concatenate([classifier.logits(face[None]) for face in faces]), atol=1e-3)
    assert np.allclose(logits[:30], np.load(project.model("candidate") / "val_logits.npy"), atol=1e-3)


def test_the_number_of_threads_changes_no_bit(folder, project):
    faces = np.array(data.read_faces(project, "val").images)
    assert len({Classifier(folder, threads=count).logits(faces).tobytes() for count in (1, 2, 3)}) == 1


def test_probabilities_use_the_temperature(folder, project):
    classifier = Classifier(folder, threads=1)
    faces = np.array(data.read_faces(project, "val").images)
    p = classifier.probabilities(faces)
    assert p.sum(axis=1) == pytest.approx(np.ones(30), abs=1e-6)
    expected = np.exp(classifier.logits(faces).astype(np.float64) / 1.7)
    assert np.allclose(p, expected / expected.sum(axis=1, keepdims=True), atol=1e-6)


def test_test_time_augmentation_averages_then_calibrates(folder, project, copy):
    faces = np.array(data.read_faces(project, "val").images)
    plain = Classifier(folder, threads=1)
    both = [softmax(plain.logits(each).astype(np.float64), axis=1) for each in (faces, faces[:, :, ::-1])]
    scores = np.mean(both, axis=0) ** (1 / 1.7)
    asked = Classifier(folder, tta="flip", threads=1)
    assert np.allclose(asked.probabilities(faces), scores / scores.sum(axis=1, keepdims=True), atol=1e-4)
    assert not np.allclose(asked.probabilities(faces), plain.probabilities(faces), atol=1e-3)
    config = copy / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"tta": "flip"}))
    as_served, overruled = Classifier(copy, threads=1), Classifier(copy, tta="off", threads=1)
    assert (as_served.tta, overruled.tta, overruled.config.tta) == ("flip", "off", "flip")
    np.testing.assert_array_equal(as_served.logits(faces), asked.logits(faces))
    np.testing.assert_array_equal(overruled.logits(faces), plain.logits(faces))


def test_no_faces(folder):
    classifier = Classifier(folder, threads=1)
    assert classifier.logits(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 6)
    assert classifier.probabilities(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 6)
    assert Classifier(folder, tta="flip_zoom").logits(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 6)


@pytest.mark.parametrize(
    "faces",
    [np.zeros((1, 32, 32, 3), np.float32), np.zeros((1, 48, 48, 3), np.uint8), np.zeros((32, 32, 3), np.uint8)],
)
def test_other_inputs_are_refused(folder, faces):
    with pytest.raises(FeropsError, match=r"uint8 faces \(N, 32, 32, 3\)"):
        Classifier(folder, threads=1).logits(faces)


def test_threads_get_their_own_answers(folder, project):
    classifier = Classifier(folder, threads=1)
    faces = np.array(data.read_faces(project, "val").images)
    expected = classifier.logits(faces)
    wrong = []

    def ask(index):
        for _ in range(20):
            if not np.allclose(classifier.logits(faces[index : index + 1]), expected[index], atol=1e-3):
                wrong.append(index)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(FeropsError, match="holds no model"):
        Classifier(tmp_path / "nowhere")


def test_a_missing_file(copy):
    (copy / "model.onnx").unlink()
    with pytest.raises(FeropsError, match=r"model\.onnx does not exist"):
        Classifier(copy)


@pytest.mark.parametrize("kept", [0, 10, 100_000])
def test_a_damaged_file(copy, kept):
    path = copy / "model.onnx"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FeropsError, match="damaged"):
        Classifier(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_px": 48}, "different exports"),
        ({"classes": ["a", "b"]}, "different exports"),
        ({"served": "../model.onnx"}, "served"),
        ({"temperature": 0}, "temperature"),
    ],
)
def test_a_config_that_does_not_fit(copy, change, message):
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(FeropsError, match=message):
        Classifier(copy)


def test_serving_needs_no_torch_and_survives_a_signal_after_reloading_a_model(folder):
    """As a service that loads a new version, drops the old one, and is then asked to stop."""
    script = (
        "import os, signal, sys; from pathlib import Path; from ferops.export.runtime import Classifier\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled'))\n"
        "model = Classifier(Path(sys.argv[1]))\n"
        "model = Classifier(Path(sys.argv[1]))\n"
        "del model\n"
        "print('torch' in sys.modules, 'onnxruntime' in sys.modules, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False False\nhandled\n")
