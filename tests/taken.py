"""A model that a project takes as it is: what `models.NAME` with 0 epochs needs."""

from __future__ import annotations

from blobs import SIZE_PX
from exports import provenance
from ferops.classes import DEFAULT_CLASSES
from ferops.layout import Layout
from ferops.model_config import ExportConfig
from ferops.training import model

THEIRS = ("neutral", *reversed(DEFAULT_CLASSES))


def write_starter(layout: Layout, *, classes: tuple[str, ...] = THEIRS, size_px: int = SIZE_PX) -> None:
    """Write a folder as ferops brings one: an export with its weights."""
    net = model.build("test_resnet", num_classes=len(classes), size_px=size_px, seed=4)
    config = ExportConfig(
        architecture="test_resnet",
        classes=classes,
        size_px=size_px,
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        temperature=0.9,
        parameters=model.count_parameters(net),
        provenance=provenance(split_hash="elsewhere"),
        licence="its own",
        served="model-int8.onnx",
        min_confidence=0.9,
        margin=0.1,
        choose="largest",
        low_confidence=0.5,
    )
    (layout.root / "starter").mkdir(exist_ok=True)
    model.save(layout.root / "starter", net, config)
