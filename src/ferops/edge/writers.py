"""How each format is written. Converters are imported where they are used: each is a package of its own."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ferops.edge.source import INPUT, OUTPUT, Source
from ferops.errors import FeropsError
from ferops.export.runtime import MAX_BATCH
from ferops.machine import import_openvino, openvino_core


def onnx(source: Source, path: Path) -> None:
    shutil.copyfile(source.served_graph, path)


def openvino(source: Source, path: Path) -> None:
    """Write `path`, an .xml file, and the .bin beside it. Weights keep their precision."""
    import_openvino().save_model(openvino_core().read_model(source.served_graph), path, compress_to_fp16=False)


def tflite(source: Source, path: Path) -> None:
    with _quiet():
        import litert_torch

        litert_torch.convert(source.answering, (_face(source),)).export(str(path))


def executorch(source: Source, path: Path) -> None:
    """XNNPACK computes what it can; the rest falls to ExecuTorch's portable operators."""
    with _quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.export(source.answering, (_face(source),))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)


def coreml(source: Source, path: Path) -> None:
    """An ML program that computes in FP16, as Apple's Neural Engine does. Core ML has no uint8: faces are float32."""
    with _quiet():
        import coremltools

        program = torch.export.export(source.answering, (_face(source).float(),)).run_decompositions({})
        package = coremltools.convert(
            program, convert_to="mlprogram", outputs=[coremltools.TensorType(name=OUTPUT)], skip_model_load=True
        )
        package.save(str(path))


def require_gpu() -> None:
    """Raises FeropsError: there is no NVIDIA GPU."""
    if not torch.cuda.is_available():
        raise FeropsError(
            "a TensorRT engine is built by the NVIDIA GPU that will run it, and PyTorch finds none here. Run the "
            "command on that machine"
        )


def tensorrt(source: Source, path: Path) -> None:
    """Build an engine of the FP32 network for 1 to MAX_BATCH faces, best for one; convolutions may use TF32."""
    require_gpu()
    import tensorrt as trt

    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(source.fp32_graph)):
        raise FeropsError(f"TensorRT cannot read the network: {parser.get_error(0).desc()}")
    side = source.config.size_px
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, (1, side, side, 3), (1, side, side, 3), (MAX_BATCH, side, side, 3))
    settings = builder.create_builder_config()
    settings.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, settings)
    if engine is None:
        raise FeropsError("TensorRT built no engine; its messages are above")
    path.write_bytes(engine)


def _face(source: Source) -> Any:
    side = source.config.size_px
    return torch.zeros((1, side, side, 3), dtype=torch.uint8)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the converters' progress and their warnings about themselves from people who can do nothing about them."""
    rest = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(rest), contextlib.redirect_stderr(rest):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
