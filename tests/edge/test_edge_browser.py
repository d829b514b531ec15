"""A converted file answers in a browser alone, through onnxruntime-web, as the starter answers here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from docs.demo.build import take_runtime

from browser import CHROMIUM, browser
from ferops.edge.convert import Compared, convert
from ferops.edge.faces import rendered_faces
from ferops.export.runtime import Classifier
from ferops.starter.shipped import unpack_starter
from static_server import onnxruntime_web, serving

SCRIPT = """(async () => {
  const ort = await import('/dist/ort.wasm.min.mjs');
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = '/dist/';
  const session = await ort.InferenceSession.create('/edge/model.onnx');
  const pixels = new Uint8Array(await (await fetch('/faces.bin')).arrayBuffer());
  const {probabilities} = await session.run({faces: new ort.Tensor('uint8', pixels, SHAPE)});
  return Array.from(probabilities.data);
})()"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_starter_answers_in_a_browser(tmp_path: Path) -> None:
    starter = tmp_path / "starter"
    starter.mkdir()
    unpack_starter(starter)
    classifier = Classifier(starter, threads=1)
    faces = rendered_faces(classifier.config.faces, count=4)
    wanted = classifier.probabilities(faces)
    served = {"served": starter / classifier.config.served, "weights": None}
    compared = Compared(faces, wanted, "rendered")
    convert("starter", classifier.config, compared=compared, formats=["onnx"], out=tmp_path / "edge", **served)
    (tmp_path / "faces.bin").write_bytes(faces.tobytes())
    (tmp_path / "index.html").write_text("<!doctype html><title>edge</title>")
    take_runtime(onnxruntime_web(tmp_path), tmp_path / "dist")
    with serving(tmp_path) as url, browser(tmp_path / "browser") as page:
        page.open(f"{url}index.html")
        found = np.array(page.run(SCRIPT.replace("SHAPE", str(list(faces.shape))))).reshape(wanted.shape)
    assert found.sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    assert found.argmax(axis=1).tolist() == wanted.argmax(axis=1).tolist()
    assert np.abs(found - wanted).max() < 0.05  # the runtimes round INT8 differently
