"""Make src/ferops/faces/detectors/weights/mtcnn.safetensors from the package facenet-pytorch 2.5.3 (MIT).

    pip install --no-deps facenet-pytorch==2.5.3
    python benchmarks/mtcnn_weights.py

The same package gives the same bytes: NOTICE beside the file has their SHA-256. Tensors only are read, no code.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

TARGET = Path(__file__).parents[1] / "src" / "ferops" / "faces" / "detectors" / "weights" / "mtcnn.safetensors"

if __name__ == "__main__":
    package = find_spec("facenet_pytorch")
    if package is None or package.origin is None:
        raise SystemExit("facenet-pytorch is not installed. Run: pip install --no-deps facenet-pytorch==2.5.3")
    tensors = {
        # safetensors writes the memory as it lies, whatever the strides say
        f"{network}.{name}": np.ascontiguousarray(tensor.numpy())
        for network in ("pnet", "rnet", "onet")
        for name, tensor in torch.load(
            Path(package.origin).parent / "data" / f"{network}.pt", map_location="cpu", weights_only=True
        ).items()
    }
    save_file(tensors, TARGET)
    TARGET.chmod(0o644)
    print(f"{TARGET}: SHA-256 {hashlib.sha256(TARGET.read_bytes()).hexdigest()}")
