"""How a converted file is run, to compare it. Each opens a file and returns what maps faces to probabilities.

Faces are uint8 `(1, S, S, 3)`, probabilities float32 `(1, K)`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferops import threads
from ferops.edge.source import INPUT, OUTPUT
from ferops.export.latency import onnxruntime_session
from ferops.export.runtime import compile_onnx

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def onnx(path: Path) -> Run:
    session = onnxruntime_session(path)
    return lambda faces: np.asarray(session.run([OUTPUT], {INPUT: faces})[0])


def openvino(path: Path) -> Run:
    model = compile_onnx(path)
    return lambda faces: np.array(model(faces)[0])


def tflite(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads.current())
    interpreter.allocate_tensors()
    given, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreter.set_tensor(given, faces)
        interpreter.invoke()
        found: NDArray[np.float32] = interpreter.get_tensor(answer)
        return found

    return run


def executorch(path: Path) -> Run:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says of itself that it is experimental
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(path)
    method = program.load_method("forward")
    return lambda faces: np.array(method.execute([torch.from_numpy(faces)])[0].numpy())


def coreml(path: Path) -> Run:
    """macOS alone has Core ML."""
    import coremltools

    model: Any = coremltools.models.MLModel(str(path))
    return lambda faces: np.asarray(model.predict({INPUT: faces.astype(np.float32)})[OUTPUT], np.float32)


def tensorrt(path: Path) -> Run:
    import tensorrt as trt
    import torch

    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(path.read_bytes())
    context = engine.create_execution_context()
    classes = engine.get_tensor_shape(OUTPUT)[1]

    def run(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        given = torch.from_numpy(faces).cuda()
        answer = torch.empty((len(faces), classes), device="cuda")
        context.set_input_shape(INPUT, tuple(given.shape))
        context.set_tensor_address(INPUT, given.data_ptr())
        context.set_tensor_address(OUTPUT, answer.data_ptr())
        context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        return np.asarray(answer.cpu())  # waits for the stream

    return run
