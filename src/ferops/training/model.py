"""The network: a backbone with its normalisation inside, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ferops.errors import FeropsError
from ferops.files import atomic_file, write_json
from ferops.model_config import Channels, Member, ModelConfig, read_training_config
from ferops.training import zoo
from ferops.training.ensemble import Ensemble

HALF = (0.5, 0.5, 0.5)

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, the grey of Pillow and OpenCV."""


class ExpressionNet(nn.Module):
    """uint8 faces in, logits out. Faces are scaled and normalised here and nowhere else, ONNX included.

    Training runs `classify(augment(pixels(faces)))`. A network that learnt from grey images alone, as they were or as
    `train.grey_probability: 1.0` made them, has `grayscale` set: `forward` then removes the colour, since the network
    has never seen any.
    """

    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(
        self, backbone: nn.Module, *, size_px: int, mean: Channels, std: Channels, grayscale: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.size_px = size_px
        self.grayscale = grayscale
        # Not persistent: they are in config.json, the weights hold learnt numbers only
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)
        self.normalise(mean=mean, std=std)

    def normalise(self, *, mean: Channels, std: Channels) -> None:
        """Set what `classify` subtracts and divides by, per RGB channel, in units of 0-1."""
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values, device=self.luma.device).view(1, 3, 1, 1), persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Map uint8 RGB faces `(N, S, S, 3)` to logits `(N, K)`, one for each class."""
        return self.answer(self.pixels(faces))

    def answer(self, pixels: Tensor) -> Tensor:
        """Map float32 `(N, 3, S, S)` in 0-1 to logits `(N, K)`; their colour goes where the network has seen none."""
        return self.classify(self.shown(pixels))

    def shown(self, pixels: Tensor) -> Tensor:
        """Return the pixels without their colour where the network has seen none."""
        return self.luminance(pixels).repeat(1, 3, 1, 1) if self.grayscale else pixels

    def luminance(self, pixels: Tensor) -> Tensor:
        """Map float32 `(N, 3, S, S)` to its grey levels `(N, 1, S, S)`."""
        return (pixels * self.luma).sum(dim=1, keepdim=True)

    @staticmethod
    def pixels(faces: Tensor) -> Tensor:
        """Map uint8 `(N, S, S, 3)` to float32 `(N, 3, S, S)` in 0-1 (a view: its memory stays channels-last)."""
        return faces.permute(0, 3, 1, 2).float() / 255.0

    def classify(self, pixels: Tensor) -> Tensor:
        """Map float32 `(N, 3, S, S)` in 0-1 to logits `(N, K)`."""
        logits: Tensor = self.backbone((pixels - self.mean) / self.std)
        return logits


def build(
    architecture: str,
    *,
    num_classes: int,
    size_px: int,
    mean: Channels = HALF,
    std: Channels = HALF,
    grayscale: bool = False,
    seed: int = 0,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
) -> ExpressionNet:
    """Make a network with random weights drawn from `seed`; torch's global random state is left as it was.

    Args:
        architecture: a backbone by its name, as for `ferops.training.zoo.create`, which has other arguments too.
        num_classes: K.
        size_px: side S of the faces, at least 32 (most networks divide it by 32).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = zoo.create(
            architecture,
            num_classes=num_classes,
            size_px=size_px,
            drop_rate=drop_rate,
            drop_path_rate=drop_path_rate,
        )
    net = ExpressionNet(backbone, size_px=size_px, mean=mean, std=std, grayscale=grayscale)
    return net.to(memory_format=torch.channels_last)  # 1.3 to 3 times as fast as NCHW on CPU and GPU


def combine(members: Sequence[ExpressionNet], temperatures: Sequence[float]) -> ExpressionNet:
    """Return one network that averages the members' probabilities, each with its temperature (`Ensemble`)."""
    return ExpressionNet(Ensemble(members, temperatures), size_px=members[0].size_px, mean=(0.0,) * 3, std=(1.0,) * 3)


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def save(folder: Path, module: nn.Module, config: ModelConfig) -> None:
    """Write weights.safetensors and config.json into `folder`, which exists."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with atomic_file(folder / "weights.safetensors") as temporary:
        save_file(tensors, temporary)
    write_json(folder / "config.json", config.model_dump(mode="json"))


def in_half_precision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the matrices among `tensors` as float16; norms and biases, whose range is wide, stay as they are.

    Raises:
        FeropsError: a weight is beyond the range of float16.
    """
    halved = {name: tensor.half() if tensor.dim() > 1 else tensor for name, tensor in tensors.items()}
    if not all(tensor.isfinite().all() for tensor in halved.values()):
        raise FeropsError("there are weights beyond half precision (65,504), or not finite")
    return halved


def load(folder: Path) -> tuple[ExpressionNet, ModelConfig]:
    """Read what `save` wrote; the network is on the CPU, in evaluation mode.

    Raises:
        FeropsError: a file is missing or damaged, or the weights are not those of the config's architecture and classes
            (the message names the layers).
    """
    config = read_training_config(folder)
    path = folder / "weights.safetensors"
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise FeropsError(f"{path} does not exist. Weights are made by: ferops train NAME") from error
    except SafetensorError as error:
        raise FeropsError(f"{path} is damaged, or not a safetensors file ({error}). Train the model again") from error
    net = from_config(config)
    problems = zoo.mismatches(wanted=net.state_dict(), found=tensors)
    if problems:
        raise FeropsError(
            f"{path} does not fit the {config.architecture} of {folder / 'config.json'}:\n{zoo.summarise(problems)}"
        )
    net.load_state_dict(tensors)
    return net.eval(), config


def from_config(config: ModelConfig) -> ExpressionNet:
    """Make the network that `config` describes, with random weights."""
    if not config.members:
        return _network(config, config)
    members = [_network(member, config) for member in config.members]
    return combine(members, [member.temperature for member in config.members])


def _network(one: ModelConfig | Member, config: ModelConfig) -> ExpressionNet:
    return build(
        one.architecture,
        num_classes=len(config.classes),
        size_px=config.size_px,
        mean=one.mean,
        std=one.std,
        grayscale=one.grayscale,
    )
