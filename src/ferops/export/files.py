"""The two files: ONNX in FP32, and its INT8 version with quantise-dequantise pairs.

How a network is quantised was chosen by the change of the predictions in OpenVINO, the served runtime, and checked in
ONNX Runtime. docs/export.md has the figures.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops.errors import FeropsError
from ferops.files import atomic_file
from ferops.machine import import_openvino
from ferops.training.model import ExpressionNet

INPUT, OUTPUT = "faces", "logits"

OPSET = 18
"""The oldest that torch's exporter writes without converting; OpenVINO and ONNX Runtime have read it since 2023."""

CALIBRATION_BATCH = 32
"""Faces a step. The ranges are means over steps of the batch's smallest and largest value: with single faces they cut
more off the ends, and a ResNet-18's logits were twice as far off."""


def write_onnx(net: ExpressionNet, path: Path) -> None:
    """Write `net` (in evaluation mode, on the CPU) with a free batch size; see docs/files.md for the signature.

    By torch.export: it knows the sizes of all layers when it writes, so that TensorFlow's padding (EfficientNet-Lite)
    is a plain attribute of the convolution, and VGG's pooling to more cells than it has is possible at all.

    Raises:
        FeropsError: the backbone has an operator that ONNX lacks, or one that depends on the image's content. The
            message names the backbone and the operator.
    """
    import onnx
    import torch

    size = net.size_px
    # Weights and pixels in NCHW's order of memory: from channels-last ones the exporter makes a Gather of the pooled
    # features, which OpenVINO computes in INT8 and wrongly (changed classes of a ResNet-18: 5 % instead of 1 %)
    plain = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    faces = torch.zeros((2, 3, size, size), dtype=torch.uint8).permute(0, 2, 3, 1)  # (2, S, S, 3)
    try:
        with warnings.catch_warnings(), _quiet("torch.onnx", "torch.export", "onnxscript"):
            warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
            program = torch.onnx.export(
                plain,
                (faces,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={"faces": {0: torch.export.Dim("batch")}},
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise FeropsError(
            f"{_name(net)} cannot be written as ONNX: {_cause(error)}. Choose another backbone in params.yaml: models"
        ) from error
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # the exporter's notes: lines and paths of this machine's source files
        del node.metadata_props[:]
    with atomic_file(path) as temporary:
        onnx.save(model, temporary)


def write_int8(onnx_file: Path, path: Path, faces: NDArray[np.uint8]) -> None:
    """Write the static INT8 version of `onnx_file`, by OpenVINO's own quantiser (NNCF).

    Weights are symmetric, with a scale per output channel; activations are symmetric with a scale per tensor. NNCF
    knows what OpenVINO fuses, so that every value between two layers is rounded once, and it leaves the gates of
    squeeze-and-excitation, softmax and layer norm in floating point. It corrects each layer's bias for the mean error
    that rounding makes there ("Data-free quantization through weight equalization and bias correction", Nagel et al.
    2019); networks with attention also get SmoothQuant (Xiao et al. 2023), which moves outliers from the activations
    into the weights. Asymmetric activations moved the logits 2 to 4 % less, and made INT8 as slow as FP32 in OpenVINO.

    Averages (global pooling), the classifier (of an ensemble each of them), and what comes behind it compute in
    floating point: OpenVINO would round the mean of bytes to a byte, and they take almost no time. Other layers that
    compute in floating point store their weights as bytes: a MobileNetV3 has a quarter of its weights in such gates.

    All weights use half of a byte's range. CPUs without VNNI (AVX2 alone) add products of bytes in 16 bits, which then
    cannot overflow: the answer is the same on every CPU. With the whole range, a MobileNet of faces changed the classes
    of 4.7 % of the faces there, instead of 2.8 %.

    Args:
        faces: uint8 `(N, S, S, 3)` from the training split: never from validation or test. N is at least 1.
    """
    import_openvino()  # before NNCF does, which reports its use as OpenVINO would
    import nncf
    import onnx

    model = onnx.load(onnx_file)
    kinds = {node.op_type for node in model.graph.node}
    last = _from_the_classifiers_on(model.graph)
    batches = [faces[start : start + CALIBRATION_BATCH] for start in range(0, len(faces), CALIBRATION_BATCH)]
    with (
        warnings.catch_warnings(),
        _quiet("nncf", "torch.utils"),
        contextlib.redirect_stdout(io.StringIO()),
    ):  # its progress bars
        warnings.simplefilter("ignore")
        quantised = nncf.quantize(
            model,
            nncf.Dataset(batches, lambda batch: {INPUT: batch}),
            subset_size=len(batches),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            model_type=nncf.ModelType.TRANSFORMER if "Softmax" in kinds else None,
            ignored_scope=nncf.IgnoredScope(
                names=sorted(last), types=sorted(kinds & {"ReduceMean", "GlobalAveragePool"})
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )
    _store_weights_as_bytes(quantised, keep=last)
    with atomic_file(path) as temporary:
        onnx.save(quantised, temporary)


_LAYERS = {"Conv", "Gemm", "MatMul"}


def _from_the_classifiers_on(graph: Any) -> set[str]:
    """Return the names of the last layers with weights before the output, and of the nodes between them and it."""
    makers = {output: node for node in graph.node for output in node.output}
    found: set[str] = set()
    todo = [OUTPUT]
    while todo:
        node = makers.get(todo.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            todo += [] if node.op_type in _LAYERS else node.input
    return found


def _store_weights_as_bytes(model: Any, *, keep: set[str]) -> None:
    """Round the remaining float weights per output channel, except those of the nodes `keep`. They still compute in
    float: runtimes convert them back when they load the file."""
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    added = []
    for node in graph.node:
        if node.op_type not in _LAYERS or node.name in keep or node.input[1] not in weights:
            continue
        name = node.input[1]
        values = numpy_helper.to_array(weights[name])
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        axis = 0 if node.op_type == "Conv" or transposed else values.ndim - 1
        others = tuple(other for other in range(values.ndim) if other != axis)
        scale = np.maximum(np.abs(values).max(axis=others, keepdims=True) / 127, np.finfo(np.float32).tiny)
        weights[name].CopyFrom(numpy_helper.from_array(np.round(values / scale).astype(np.int8), name))
        graph.initializer.append(numpy_helper.from_array(scale.ravel().astype(np.float32), f"{name}_scale"))
        # Round a weight shared by several nodes only once
        del weights[name]
        added.append(helper.make_node("DequantizeLinear", [name, f"{name}_scale"], [f"{name}_float"], axis=axis))
        for user in graph.node:
            for index, used in enumerate(user.input):
                if used == name:
                    user.input[index] = f"{name}_float"
    for node in reversed(added):
        graph.node.insert(0, node)


def _name(net: ExpressionNet) -> str:
    """Return the backbone's name in timm, or its class."""
    settings = getattr(net.backbone, "pretrained_cfg", None) or {}
    return str(settings.get("architecture") or type(net.backbone).__name__)


def _cause(error: BaseException) -> str:
    """Return why the export failed: the operator, if the error names one, and the first line of the root cause."""
    operator = ""
    while error.__cause__ is not None:
        error = error.__cause__
        found = re.search(r"target=torch\.ops\.([\w.]+)", str(error))
        operator = f"ONNX has no operator {found[1]}: " if found else operator
    return operator + str(error).strip().splitlines()[0].rstrip(".")


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let these loggers report errors only."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
