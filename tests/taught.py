"""Models of a project of blobs that were not trained but have learnt: the last layer is fitted by least squares."""

from __future__ import annotations

import numpy as np
import torch

from exports import provenance
from ferops.layout import Layout
from ferops.model_config import ModelConfig
from ferops.provenance import data_version, split_hash
from ferops.training import data, model, norms
from ferops.training.evaluator import predict
from ferops.training.faces import Faces
from ferops.training.precision import Precision


def teach(net: model.ExpressionNet, faces: Faces, sharpness: float) -> None:
    """Fit the last layer by least squares, and make its logits so many times as large."""
    backbone = net.backbone
    with torch.no_grad():
        pixels = (net.pixels(torch.from_numpy(np.array(faces.images))) - net.mean) / net.std
        features = backbone.forward_head(backbone.forward_features(pixels), pre_logits=True)
        columns = torch.cat([features, torch.ones(len(features), 1)], dim=1)
        found = torch.linalg.lstsq(columns, sharpness * torch.eye(6)[torch.from_numpy(faces.labels)], driver="gelsd")
        backbone.get_classifier().weight.copy_(found.solution[:-1].T)
        backbone.get_classifier().bias.copy_(found.solution[-1])


def write_taught(
    layout: Layout,
    name: str,
    architecture: str = "test_resnet",
    *,
    seed: int = 1,
    sharpness: float = 60.0,
    grayscale: bool = False,
    mean: tuple[float, float, float] = (0.4, 0.5, 0.6),
    noise: float = 0.0,
    **changes: object,
) -> None:
    """Write artifacts/train/`name` of a network that answers the project's faces well.

    Args:
        noise: how far its convolutions are moved before the last layer is fitted, as a share of their deviation.
        changes: other fields of its config.
    """
    known = {"architecture": architecture, "size_px": 32, "mean": mean, "std": (0.25, 0.25, 0.25)}
    net = model.build(num_classes=6, grayscale=grayscale, seed=seed, **known).eval()
    draw = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for each in net.parameters():
            if each.dim() == 4:
                each.add_(noise * each.std() * torch.randn(each.shape, generator=draw))
    faces = data.read_faces(layout, "train")
    norms.measure_again(net, faces.images, None, count=len(faces), seed=seed, device=torch.device("cpu"))
    teach(net, faces, sharpness)
    folder = layout.model(name)
    folder.mkdir(parents=True)
    config = {**known, "grayscale": grayscale, "classes": ("anger", "disgust", "fear", "happy", "sad", "surprised")}
    config["provenance"] = provenance(data_version=data_version(layout), split_hash=split_hash(layout))
    config |= {"parameters": model.count_parameters(net), "licence": f"Apache-2.0; weights of {architecture}"}
    model.save(folder, net, ModelConfig.model_validate(config | changes))
    plain = Precision(torch.device("cpu"), None)
    for split in ("val", "test"):
        np.save(folder / f"{split}_logits.npy", predict(net, data.read_faces(layout, split).images, precision=plain))
