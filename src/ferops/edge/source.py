"""What there is to convert: the served file, and the trained network that it was made from."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ferops.errors import FeropsError
from ferops.export import files
from ferops.model_config import FP32_FILE, INT8_FILE, WEIGHTS_FILE, ExportConfig, ModelConfig, read_training_config
from ferops.training import model
from ferops.training.model import ExpressionNet

INPUT, OUTPUT = files.INPUT, "probabilities"


class Answering(nn.Module):
    """RGB faces `(N, S, S, 3)` of 0-255 in, calibrated probabilities `(N, K)` out."""

    def __init__(self, net: ExpressionNet, temperature: float) -> None:
        super().__init__()
        self.net = net
        self.temperature = temperature

    def forward(self, faces: Tensor) -> Tensor:
        return torch.softmax(self.net(faces) / self.temperature, dim=1)


@dataclass(frozen=True)
class Source:
    """A model that is to be converted.

    Attributes:
        served: the file that answers: an exported one, or the trained weights.
        weights: the folder of the trained weights; None where they are not at hand.
        scratch: an existing folder for files in between.
    """

    config: ExportConfig
    served: Path
    weights: Path | None
    scratch: Path

    @cached_property
    def net(self) -> ExpressionNet:
        """The trained network in FP32, its weights in NCHW's order of memory. Raises FeropsError: no weights."""
        if self.weights is None:
            raise FeropsError(
                f"there is no {WEIGHTS_FILE} beside {self.served}, and this format is made from them. Name the "
                "folder of the training (artifacts/train/NAME), or work in the project that exported the model"
            )
        net, _ = model.load(self.weights)
        return copy.deepcopy(net).to(memory_format=torch.contiguous_format)

    @property
    def answering(self) -> Answering:
        return Answering(self.net, self.config.temperature).eval()

    @cached_property
    def served_graph(self) -> Path:
        """The served network as ONNX, with probabilities as its output."""
        return self.fp32_graph if self.served.name == WEIGHTS_FILE else self._graph(self.served)

    @cached_property
    def fp32_graph(self) -> Path:
        """The trained network as ONNX in FP32, with probabilities as its output. Errors as for `net`."""
        logits = self.scratch / FP32_FILE
        files.write_onnx(self.net, logits)
        return self._graph(logits)

    @property
    def precision(self) -> str:
        """Of the served file."""
        return "int8" if self.served.name == INT8_FILE else "fp32"

    def _graph(self, exported: Path) -> Path:
        import onnx

        path = self.scratch / f"probabilities-of-{exported.name}"
        graph = onnx.load(exported)
        append_probabilities(graph, self.config.temperature)
        onnx.save(graph, path)
        return path


def find_weights(served: Path, config: ExportConfig, trained: Path | None) -> Path | None:
    """Return the folder with the weights that `served` was made from: its own, or `trained` if it is that training."""
    if (served.parent / WEIGHTS_FILE).exists():
        return served.parent
    if trained is None or not (trained / WEIGHTS_FILE).exists():
        return None
    fields = set(ModelConfig.model_fields) - {"temperature"}  # fitted by the export
    same = read_training_config(trained).model_dump(include=fields) == config.model_dump(include=fields)
    return trained if same else None


def append_probabilities(graph: Any, temperature: float) -> None:
    """Let an exported ONNX model answer softmax(logits / temperature) instead of logits."""
    import numpy as np
    from onnx import helper, numpy_helper

    logits = graph.graph.output[0]
    graph.graph.initializer.append(numpy_helper.from_array(np.array(temperature, np.float32), "temperature"))
    graph.graph.node.extend(
        [
            helper.make_node("Div", [logits.name, "temperature"], ["calibrated"]),
            helper.make_node("Softmax", ["calibrated"], [OUTPUT], axis=1),
        ]
    )
    logits.name = OUTPUT
