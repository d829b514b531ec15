"""The log of a running service: what was answered is in it after SIGTERM, and no image is."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ferops.config import Params
from ferops.datasets.synthetic.generate import rows
from ferops.layout import Layout
from ferops.packaging.serve import Place, serve_command
from served import served


@pytest.mark.slow
def test_what_was_answered_is_in_the_log_after_sigterm(bentos: Layout, quick_params: Params, tmp_path: Path) -> None:
    photo = next(rows(seed=7))["image"]
    assert isinstance(photo, bytes)
    limits = quick_params.serve.model_copy(update={"log_dir": str(tmp_path / "traffic")})
    # The Bento was built without the setting: `ferops serve` turns the log on all the same
    command, variables = serve_command(bentos, quick_params.model_copy(update={"serve": limits}), Place(0))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("one.png", photo)
    with served(command, variables, folder=bentos.root, log=tmp_path / "service.log") as client:
        said = client.post("/predict", files={"image": photo}).json()
        client.post("/predict/batch", files={"image": archive.getvalue()})
        assert "Kept of each answer" in client.get("/info").json()["privacy"]
    first, second = [
        row for file in sorted((tmp_path / "traffic").glob("*.parquet")) for row in pq.read_table(file).to_pylist()
    ]
    (face,) = said["faces"]
    assert (first["path"], second["path"]) == ("/predict", "/predict/batch")
    assert (first["label"], first["model_version"]) == (face["label"], said["model_version"])
    assert first["confidence"] == pytest.approx(face["confidence"], abs=1e-6)
    assert first["latency_ms"] > said["timing_ms"]["predict"]
    assert 0 < first["brightness"] < 255
    assert first["sharpness"] > 0
    assert first["image_hash"] is None
    assert len(list((tmp_path / "traffic").iterdir())) == 1
