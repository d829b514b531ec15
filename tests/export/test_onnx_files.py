"""Any backbone leaves as ONNX and as INT8: tiny networks of each family here, the zoo's own among the slow tests."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from blobs import blobs
from ferops.errors import FeropsError
from ferops.export import files
from ferops.export.runtime import compile_onnx
from ferops.training import model, zoo

ZOO_INT8_MB = {
    "resnet18": 12,
    "resnet50": 9,
    "vgg16_bn": 32,
    "efficientnet_b0": 7.5,
    "efficientnet_lite0": 5,
    "mobilenetv1": 4,
    "mobilenetv3_large": 5,
    "mobilenetv3_small": 5,
    "vit_base_patch16_224": 17,
    "convnext_tiny": 15,
}
FEWER: dict[str, dict[str, object]] = {
    "resnet50": {"layers": (1, 1, 1, 1)},
    "vgg16_bn": {"mlp_ratio": 0.125},
    "vit_base_patch16_224": {"depth": 2},
    "convnext_tiny": {"depths": (1, 1, 2, 1)},
}
"""Arguments of timm that leave each kind of layer and repeat it less: the whole networks take minutes to quantise."""
AKIN = ("vgg16_bn", "efficientnet_b0", "mobilenetv3_large", "convnext_tiny")
"""Their layers are those of others in the zoo, or no preset uses them: pytest -m soak tests/export."""


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """Blobs of 64 px: uint8 (60, 64, 64, 3)."""
    return blobs(10, seed=4)[0].repeat(2, axis=1).repeat(2, axis=2)


def settled(architecture: str, faces: np.ndarray) -> model.ExpressionNet:
    """A network whose batch norms have seen these faces, so that values stay in range as in a trained one."""
    net = model.build(architecture, num_classes=6, size_px=64, mean=(0.4, 0.45, 0.5), std=(0.2, 0.25, 0.3), seed=1)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the plain average
                module.reset_running_stats()
        net.train()(torch.from_numpy(faces))
    return net.eval()


def check(net, folder, faces, *, tolerance: float) -> tuple[float, float]:
    """Write both files and run them in both runtimes; return their sizes in MB."""
    fp32, int8 = folder / "model.onnx", folder / "model-int8.onnx"
    files.write_onnx(net, fp32)
    files.write_int8(fp32, int8, faces[:40])
    with torch.inference_mode():
        wanted = net(torch.from_numpy(faces)).numpy()
    for path, limit in ((fp32, 1e-3), (int8, tolerance)):
        openvino = compile_onnx(path, threads=1)
        session = onnxruntime.InferenceSession(path)
        for found in (openvino(faces)[0], session.run(["logits"], {"faces": faces})[0]):
            error = np.sqrt(np.square(found - wanted).mean()) / wanted.std()
            assert error < limit
    return fp32.stat().st_size / 1e6, int8.stat().st_size / 1e6


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_vit"])
def test_both_files_compute_what_the_network_does(architecture, faces, tmp_path):
    """test_efficientnet: depthwise convolutions, squeeze-and-excitation; test_vit: attention and layer norms."""
    check(settled(architecture, faces), tmp_path, faces, tolerance=0.3)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert not any(node.op_type == "BatchNormalization" for node in graph.node)  # folded into the convolutions
    # What OpenVINO gets wrong in INT8: the exporter's reading of pooled features out of channels-last memory
    assert architecture == "test_vit" or not any(node.op_type == "Gather" for node in graph.node)
    assert not any(node.metadata_props for node in graph.node)  # no paths of the machine that exported


@pytest.mark.slow
@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.soak] * (name in AKIN)) for name in ZOO_INT8_MB]
)
def test_the_zoo(architecture, faces, tmp_path, monkeypatch):
    create = zoo.timm.create_model
    monkeypatch.setattr(zoo.timm, "create_model", lambda name, **how: create(name, **how, **FEWER.get(name, {})))
    net = settled(architecture, faces)
    fp32_mb, int8_mb = check(net, tmp_path, faces, tolerance=1.0)
    assert int8_mb < ZOO_INT8_MB[architecture]
    assert fp32_mb == pytest.approx(4 * model.count_parameters(net) / 1e6, rel=0.06)


def test_what_computes_in_floating_point_from_the_classifiers_on():
    """Of an ensemble the classifiers of all members, and none of the layers before them."""
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["faces", "w0"], ["x"], name="features"),
        node("Relu", ["x"], ["y"], name="relu"),
        node("Gemm", ["y", "w1"], ["a"], name="one"),
        node("Conv", ["y", "w2"], ["b"], name="other"),
        node("Flatten", ["b"], ["c"], name="flatten"),
        node("Add", ["a", "c"], ["logits"], name="sum"),
    ]
    assert files._from_the_classifiers_on(onnx.helper.make_graph(nodes, "two", [], [])) == {
        "one",
        "other",
        "flatten",
        "sum",
    }


class Odd(nn.Module):
    """A backbone that ONNX cannot express: by an operator, or by a branch on what is in the image."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.head = nn.Linear(3, 6)

    def forward(self, pixels: Tensor) -> Tensor:
        features = pixels.mean(dim=(2, 3))
        if self.kind == "operator":
            features = torch.special.bessel_j0(features)
        elif features.sum() > 0:
            features = features + 1
        return self.head(features)


@pytest.mark.parametrize(("kind", "message"), [("operator", "no operator.*bessel_j0"), ("branch", "data-dependent")])
def test_a_backbone_that_onnx_cannot_express(kind, message, tmp_path):
    net = model.ExpressionNet(Odd(kind), size_px=32, mean=model.HALF, std=model.HALF).eval()
    net.backbone.pretrained_cfg = {"architecture": "oddnet"}
    with pytest.raises(FeropsError, match=rf"oddnet cannot be written as ONNX: .*{message}"):
        files.write_onnx(net, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
