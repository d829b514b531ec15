"""A small residual network that was learnt to tell people apart."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class FaceResNet(nn.Module):
    """The ResNet (He et al. 2016) of dlib's face recognition model (D. King 2017), half of a ResNet-34.

    5.6 million weights, 29 convolutions of 32 to 256 channels. Where the resolution is halved, the shortcut is the mean
    over 2x2 cells, and new channels start from zero, so that it has no weights. Learnt on faces of 150 px; it takes any
    side from 71 px.
    """

    num_features = 256

    def __init__(self, *, num_classes: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.num_classes, self.drop_rate = num_classes, drop_rate
        self.stem = nn.Conv2d(3, 32, 7, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(32)
        widths = [32] * 3 + [64] * 4 + [128] * 3 + [256] * 3
        halved = [before != after for before, after in zip([32, *widths], widths, strict=False)]
        blocks = [Block(b, a, halve=h) for b, a, h in zip([32, *widths], widths, halved, strict=False)]
        self.blocks = nn.Sequential(*blocks, Block(256, 256, halve=True))
        self.fc = nn.Linear(self.num_features, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, `(N, K)`, of normalised images, `(N, 3, S, S)`."""
        return self.forward_head(self.forward_features(images))

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last maps, `(N, 256, S / 64, S / 64)`, rounded down."""
        maps: Tensor = self.blocks(F.max_pool2d(F.relu(self.norm(self.stem(images))), 3, stride=2))
        return maps

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Return logits `(N, K)`, or with `pre_logits` the features before them, `(N, 256)`."""
        features = F.dropout(maps.mean((2, 3)), self.drop_rate, self.training)
        return features if pre_logits else self.fc(features)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return the layers' names from the first to the last, as timm's networks do."""
        del coarse
        return {"stem": r"^stem|^norm", "blocks": [(r"^blocks\.(\d+)", None)]}


class Block(nn.Module):
    """Two convolutions of 3x3 beside a shortcut."""

    def __init__(self, before: int, after: int, *, halve: bool) -> None:
        super().__init__()
        self.halve, self.added = halve, after - before
        self.conv1 = nn.Conv2d(before, after, 3, stride=2 if halve else 1, padding=0 if halve else 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps
        if self.halve:
            shortcut = F.pad(F.avg_pool2d(maps, 2), (0, 0, 0, 0, 0, self.added))
            # cells beyond the right and the lower border, so that an even side is halved, too
            maps = F.pad(maps, (0, 1 - maps.shape[3] % 2, 0, 1 - maps.shape[2] % 2))
        maps = F.relu(self.norm1(self.conv1(maps)))
        return F.relu(shortcut + self.norm2(self.conv2(maps)))
