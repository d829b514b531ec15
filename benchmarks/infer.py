"""Inference speed of each runtime: latency of one face, and faces/s in batches of 16.

    python benchmarks/infer.py                                       # a ResNet-50 at 64 px with random weights
    python benchmarks/infer.py --architecture resnet18 --size 224
    python benchmarks/infer.py --model artifacts/train/candidate     # trained weights

Speed does not depend on the weights' values. The INT8 file is calibrated on random pixels: it is for timing only.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from ferops.export import files, latency
from ferops.machine import cpu_name
from ferops.model_config import FP32_FILE, INT8_FILE
from ferops.training import model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet50", help="a backbone of timm's zoo")
    parser.add_argument("--size", type=int, default=64, metavar="PX")
    parser.add_argument("--model", type=Path, help="a folder of `ferops train`, instead of random weights")
    parser.add_argument("--seconds", type=float, default=1.0, help="time to spend on each cell, about")
    arguments = parser.parse_args()
    if arguments.model:
        net, _ = model.load(arguments.model)
    else:
        net = model.build(arguments.architecture, num_classes=6, size_px=arguments.size).eval()
    faces = np.random.default_rng(0).integers(0, 256, (16, net.size_px, net.size_px, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        fp32, int8 = Path(folder) / FP32_FILE, Path(folder) / INT8_FILE
        files.write_onnx(net, fp32)
        files.write_int8(fp32, int8, faces)
        rows = latency.table(net, fp32, int8, budget_s=arguments.seconds)
    print(f"{cpu_name()}, {net.size_px} px")
    print(f"{'runtime':<14}{'precision':<11}{'batch 1, ms':>12}{'batch 16, images/s':>20}")
    for row in rows:
        print(f"{row.runtime:<14}{row.precision:<11}{row.latency_ms:>12.2f}{row.images_per_s:>20.1f}")


if __name__ == "__main__":
    main()
