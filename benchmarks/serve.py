"""How long an answer takes, and where the time goes: the running service, the Predictor and the classifier, one run.

    python benchmarks/serve.py [--image photo.jpg] [--requests 60]

Serves the Bento that `ferops package` made last on a free port, measures it, and stops it. Without --image it sends
a rendered face. The rows are measured in turns of one block each, so that a busy moment hits all of them. The
last lines tell whether a batch of faces is faster per face than one at a time: that would be the case for batching
across requests. OMP_WAIT_POLICY=passive is set as for the service (see ferops.packaging.bento.environment).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from running import running

from ferops.datasets.images import decode
from ferops.export.runtime import Classifier
from ferops.inference.predictor import Predictor
from ferops.layout import Layout
from ferops.packaging.bento import bento_folder, packaged

BLOCK = 10
WARM_UP = 5


def timed_ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def measure(ways: dict[str, Callable[[int], list[float]]], *, requests: int) -> dict[str, list[float]]:
    """Run every way in turn, a block at a time, and return the latencies in ms."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(WARM_UP)
    for _ in range(max(1, requests // BLOCK)):
        for name, way in ways.items():
            spent[name] += way(BLOCK)
    return spent


def table(spent: dict[str, list[float]], *, reference: str) -> str:
    base = float(np.median(spent[reference]))
    lines = [f"| way | p50, ms | p95, ms | p50 / {reference} |", "|---|---|---|---|"]
    for name, values in spent.items():
        p50, p95 = np.percentile(values, [50, 95])
        lines.append(f"| {name} | {p50:.1f} | {p95:.1f} | {p50 / base:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a photograph; default: a rendered face")
    parser.add_argument("--requests", type=int, default=60, help="measurements per way")
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder")
    arguments = parser.parse_args()
    layout = Layout(arguments.root)
    encoded = arguments.image.read_bytes() if arguments.image else _rendered()
    pixels = decode(encoded)
    tag = packaged(layout)
    with running(layout) as service:
        assert tag is not None  # `running` has raised otherwise
        model = bento_folder(layout, tag) / "src" / "model"
        predictor, classifier = Predictor(model), Classifier(model)
        size_px = classifier.config.size_px
        faces = np.random.default_rng(0).integers(0, 256, (8, size_px, size_px, 3), dtype=np.uint8)
        found = len(predictor.predict([pixels])[0].faces)

        def post() -> object:
            return service.client.post("/predict", files={"image": encoded}).raise_for_status()

        def clients(count: int) -> Callable[[int], list[float]]:
            pool = concurrent.futures.ThreadPoolExecutor(count)
            return lambda n: list(pool.map(lambda _: timed_ms(post), range(n)))

        def repeat(work: Callable[[], object]) -> Callable[[int], list[float]]:
            return lambda n: [timed_ms(work) for _ in range(n)]

        spent = measure(
            {
                "classifier, 1 face": repeat(lambda: classifier.probabilities(faces[:1])),
                "classifier, 8 faces": repeat(lambda: classifier.probabilities(faces)),
                "Predictor": repeat(lambda: predictor.predict([pixels])),
                "service, 1 client": clients(1),
                "service, 4 clients": clients(4),
            },
            requests=arguments.requests,
        )
    print(f"{tag}, {pixels.shape[1]}x{pixels.shape[0]} px, {found} faces, {arguments.requests} measurements each\n")
    print(table(spent, reference="Predictor"))
    one, eight = (float(np.median(spent[name])) for name in ("classifier, 1 face", "classifier, 8 faces"))
    print(f"\nper face in a batch of 8: {eight / 8:.2f} ms, alone: {one:.2f} ms; ratio {eight / 8 / one:.2f}")


def _rendered() -> bytes:
    from ferops.datasets.synthetic.generate import rows

    encoded: bytes = next(rows(seed=7))["image"]
    return encoded


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded, which the Predictor does
    main()
