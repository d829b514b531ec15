from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from exports import change, export_config, provenance
from ferops.classes import DEFAULT_CLASSES
from ferops.config import FaceRules
from ferops.datasets.images import decode
from ferops.datasets.manifest import make_row
from ferops.errors import FeropsError
from ferops.faces.align import whole
from ferops.faces.stage import preprocess
from ferops.layout import Layout
from ferops.model_config import ExportConfig, ModelConfig, read_model_config
from ferops.scoring.framing import Asked, Framer, rules_of
from ferops.scoring.table import read_table
from sample_images import quick_params, write_source
from scoring_files import BrightFaces, dark, tinted, write


def faces_of(folder: Path, data: Path, asked: Asked = "auto") -> tuple[dict[int, str], dict[int, NDArray[np.uint8]]]:
    """Return the status of each row, and the faces."""
    framer = Framer.of(read_model_config(folder, ExportConfig), asked, origin="here")
    statuses: dict[int, str] = {}
    faces: dict[int, NDArray[np.uint8]] = {}
    for extracted in framer.faces(read_table(data).judged_by(DEFAULT_CLASSES), BrightFaces()):
        pixels = iter(extracted.pixels)
        for record in extracted.records:
            row = int(record["image_id"])
            statuses[row] = record["status"]
            if record["status"] in ("ok", "tight", "whole"):
                faces[row] = next(pixels)
    return statuses, faces


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"ok", "tight", "no_face"}),
        ({"tight": "whole"}, {"ok", "tight", "no_face"}),
        ({"no_face": "keep", "min_face_px": 70.0}, {"ok", "tight", "whole", "small_face"}),
    ],
)
def test_faces_are_those_of_the_preprocess_stage(
    tmp_path: Path, export: Path, settings: dict[str, Any], expected: set[str]
) -> None:
    """Pixel by pixel, for tight and other sources, whatever the model's settings."""
    layout = Layout(tmp_path / "project")
    sizes = {"fer2013": 48, "wild": 90}
    for number, (source, size_px) in enumerate(sizes.items()):
        bright = [tinted("green", 100 * number + i, size_px=size_px - 20 * (i // 6)) for i in range(12)]
        images = [*bright, *(dark(100 * number + i, size_px=size_px) for i in range(3))]
        rows = [make_row(image, source=source, label=DEFAULT_CLASSES[i % 6]) for i, image in enumerate(images)]
        write_source(layout, source, rows)
    tables = [pd.read_parquet(layout.source(source)) for source in sizes]
    everything = pd.concat(tables, ignore_index=True)
    manifest = everything.drop(columns="image").assign(cluster=everything["image_id"])
    layout.manifest.parent.mkdir(parents=True)
    layout.assignment.parent.mkdir(parents=True)
    manifest.to_parquet(layout.manifest)
    manifest[["image_id"]].assign(split="test", group="g").to_parquet(layout.assignment)

    blocks = {"size_px": 32, "tight_sources": ("fer2013",), "runner": "local", "workers": 1, **settings}
    params = quick_params(preprocess=blocks)
    preprocess(layout, params, detector=BrightFaces())
    index = pd.read_parquet(layout.face_index).set_index("image_id")
    made = np.load(layout.faces("test"))

    change(export, provenance={"sources": list(sizes), "params": params.model_dump(mode="json", by_alias=True)})
    for source, table in zip(sizes, tables, strict=True):
        statuses, faces = faces_of(export, layout.source(source))
        wanted = index.loc[table["image_id"]]
        assert [statuses[row] for row in range(len(table))] == wanted["status"].tolist()
        assert set(faces) == set(np.flatnonzero(wanted["row"] >= 0))
        for row, face in faces.items():
            np.testing.assert_array_equal(face, made[wanted["row"].iloc[row]])
    assert set(index["status"]) == expected


def test_the_source_decides_and_the_size_where_the_model_does_not_know_it(tmp_path: Path, export: Path) -> None:
    """The model was trained on `wild`, whose images are not crops, and on `fer2013`, whose images are."""
    sources = ["fer2013", "fer2013", "wild", "wild", "unheard_of", "unheard_of", None, None]
    images = [dark(row, size_px=48 if row % 2 else 120) for row in range(8)]
    data = write(tmp_path / "mixed.parquet", image=images, label=["sad"] * 8, source=sources)
    statuses, _ = faces_of(export, data)
    assert [statuses[row] for row in range(8)] == ["tight", "tight", "no_face", "no_face"] + 2 * ["no_face", "tight"]
    no_column = write(tmp_path / "foreign.parquet", image=images, label=["sad"] * 8)
    assert Counter(faces_of(export, no_column)[0].values()) == {"no_face": 4, "tight": 4}
    at_most = write(tmp_path / "sizes.parquet", image=[dark(0, size_px=100), dark(0, size_px=101)], label=["sad"] * 2)
    assert faces_of(export, at_most)[0] == {0: "tight", 1: "no_face"}


def test_small_images_of_unknown_sources_are_searched_first(tmp_path: Path, export: Path) -> None:
    data = write(tmp_path / "small.parquet", image=[tinted("red", 1, size_px=48)], label=["sad"])
    assert faces_of(export, data)[0] == {0: "ok"}
    tight = quick_params(preprocess={"size_px": 32, "tight": "whole"}).model_dump(mode="json", by_alias=True)
    change(export, provenance={"sources": ["fer2013"], "params": tight})  # a model that was trained on whole crops
    assert faces_of(export, data)[0] == {0: "tight"}


def test_whole_and_aligned_overrule_the_model(tmp_path: Path, export: Path) -> None:
    image = tinted("red", 1, size_px=120)
    data = write(
        tmp_path / "data.parquet",
        image=[image, dark(1, size_px=48), dark(2, size_px=120)],
        label=["sad"] * 3,
        source=["wild", "fer2013", "fer2013"],
    )
    statuses, faces = faces_of(export, data, "whole")
    assert set(statuses.values()) == {"tight"}
    np.testing.assert_array_equal(faces[0], whole(decode(image), size_px=32))
    statuses, faces = faces_of(export, data, "aligned")
    assert statuses == {0: "ok", 1: "no_face", 2: "no_face"}


def test_images_that_do_not_decode_are_remembered(tmp_path: Path, export: Path) -> None:
    images = [tinted("red", 1), b"not an image", None, tinted("red", 1)[:200], tinted("red", 5)]
    data = write(tmp_path / "data.parquet", image=images, label=["sad"] * 5)
    framer = Framer.of(read_model_config(export, ExportConfig), "auto", origin="here")
    found = [
        record["image_id"]
        for extracted in framer.faces(read_table(data).judged_by(DEFAULT_CLASSES), BrightFaces())
        for record in extracted.records
    ]
    assert found == ["0", "4"]
    assert framer.undecodable == [1, 2, 3]
    assert set(framer.pixels) == {0, 4}


def test_many_rows_come_in_bounded_shards(tmp_path: Path, export: Path) -> None:
    count = 700
    images = [tinted("red", row, size_px=8) for row in range(count)]
    sources = ["wild" if row % 3 else "fer2013" for row in range(count)]
    data = write(tmp_path / "many.parquet", image=images, label=["sad"] * count, source=sources, row_group_size=count)
    framer = Framer.of(read_model_config(export, ExportConfig), "whole", origin="here")
    shards = [
        [int(one["image_id"]) for one in extracted.records]
        for extracted in framer.faces(read_table(data).judged_by(DEFAULT_CLASSES), None)
    ]
    assert max(map(len, shards)) <= 64
    assert sorted(row for shard in shards for row in shard) == list(range(count))


def trained_with(**preprocess_block: Any) -> ModelConfig:
    """A model of 48 px that says how its faces were made."""
    made_from = provenance(params={"preprocess": preprocess_block}, ferops_version="9.9")
    tree = export_config(size_px=48, provenance=made_from).model_dump(include=set(ModelConfig.model_fields))
    return ModelConfig.model_validate(tree)


OLD = {
    "size_px": 64,
    "min_confidence": 0.8,
    "margin": 0.2,
    "choose": "central",
    "tight_sources": ["fer2013"],
    "batch_size": 32,
}


def test_rules_of_an_old_model_are_what_that_version_did() -> None:
    config = trained_with(**OLD)
    before = config.model_dump()
    found = rules_of(config, origin="here")
    assert found == FaceRules(
        detector="mtcnn",
        size_px=48,  # the network's
        min_confidence=0.8,
        margin=0.2,
        choose="central",
        align="eyes_nose",
        tight_sources=("fer2013",),
        tight="whole",
        min_face_px=0.0,
        no_face="quarantine",
    )
    assert config.model_dump() == before


def test_an_export_is_framed_as_it_is_served(export: Path) -> None:
    change(export, margin=0.25, align="five_points", min_confidence=0.6)
    found = rules_of(read_model_config(export, ExportConfig), origin="here")
    assert (found.margin, found.align, found.min_confidence) == (0.25, "five_points", 0.6)
    assert found.tight_sources == ("fer2013",)


def test_models_that_do_not_say_how_their_faces_were_made() -> None:
    silent = trained_with().model_copy(update={"provenance": provenance(params={})})
    with pytest.raises(FeropsError, match=r"here: config.json does not say how the faces were made.*Train it again"):
        rules_of(silent, origin="here")
    with pytest.raises(FeropsError, match=r"does not understand: margin: .*; crop: .*version that made it, 9\.9"):
        rules_of(trained_with(**OLD | {"margin": 0.7}, crop="round"), origin="here")
