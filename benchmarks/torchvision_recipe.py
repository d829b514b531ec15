"""The baseline of benchmarks/train.py: torchvision's reference training of classifiers, as it is without options.

What `references/classification/train.py` of github.com/pytorch/vision does for each batch, written anew:

- files: an `ImageFolder` of JPEGs, decoded by Pillow; RandomResizedCrop (area 8-100 %, bilinear), RandomHorizontalFlip,
  to tensor, to float, Normalize with ImageNet's statistics, image by image;
- a `DataLoader` that draws at random, with worker processes and pinned memory. The recipe asks for 16 workers; here
  there is one for each core unless --workers says otherwise, which suits it better on small machines;
- the network in FP32 and PyTorch's own memory order (NCHW); cross-entropy without weights or smoothing;
- SGD with momentum 0.9, weight decay 1e-4 on everything, learning rate 0.1; no clipping, no average of the weights;
- the loss and the accuracies (top 1 and 5) of every batch are read, which on a GPU waits for it; cuDNN may try which
  of its kernels is fastest (`benchmark`).

The network is the one that is compared, not torchvision's of that name: the same layers, the same numbers of weights.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

JPEG_QUALITY = 95
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_folder(root: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Write faces uint8 `(N, S, S, 3)` as JPEGs, a folder per class."""
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{row:06d}.jpg", quality=JPEG_QUALITY)


class TorchvisionRecipe:
    """Trains `network` (any module from float `(N, 3, S, S)` to logits) on the files below `root`."""

    def __init__(
        self, network: nn.Module, root: Path, *, size_px: int, batch_size: int, workers: int, device: torch.device
    ) -> None:
        torch.backends.cudnn.benchmark = True
        self.network = network.to(device, memory_format=torch.contiguous_format).train()
        self.batch_size, self.workers, self.device = batch_size, workers, device
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        self.dataset = ImageFolder(
            root,
            transforms.Compose(
                [
                    transforms.RandomResizedCrop(size_px),
                    transforms.RandomHorizontalFlip(),
                    transforms.PILToTensor(),
                    transforms.ConvertImageDtype(torch.float),
                    transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
                ]
            ),
        )

    def turn(self, steps: int) -> float:
        """Train for some steps and return seconds per image.

        The clock starts once the workers' queue is full and stops while they still fill it, as within a long epoch. No
        worker outlives the turn: it would work on while the other side's clock runs.
        """
        lead = 2 * self.workers + 1  # batches that a full queue holds, and one
        images = (steps + 2 * lead) * self.batch_size
        loader = DataLoader(
            self.dataset,
            batch_size=self.batch_size,
            sampler=RandomSampler(self.dataset, num_samples=images),
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )
        batches = iter(loader)
        for _ in range(lead):
            self._step(*next(batches))
        started = time.perf_counter()
        for _ in range(steps):
            self._step(*next(batches))
        return (time.perf_counter() - started) / (steps * self.batch_size)

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        images, labels = images.to(self.device), labels.to(self.device)
        logits = self.network(images)
        loss = nn.functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        right = logits.detach().topk(5, dim=1).indices == labels[:, None]
        right[:, 0].float().mean().item()
        right.any(dim=1).float().mean().item()
        loss.item()
