"""How often a canary as good as the champion is ended, and how soon a worse one: `python benchmarks/rollout.py`.

The guards of `ferops.rollout.canary` with the preset's bounds, on drawn traffic: a canary's share of the clients, times
that vary by 30 %, confidences with the spread of real ones. Clients differ in light and camera: `between` is the
standard deviation of their mean confidences. Prints a table; nothing is served.
"""

from __future__ import annotations

import argparse

import numpy as np

from ferops import config, presets
from ferops.rollout.canary import Trial, is_taken

IMAGES = 10_000
EVERY = 250
"""Images between two looks at the guards; the service looks at each."""


def images_until_ended(
    rules: config.Canary, *, clients: int, between: float, drop: float, ratio: float, seed: int
) -> tuple[int, str] | None:
    """Return after how many of the canary's images it is ended, and by which guard; None if it isn't within IMAGES."""
    draw = np.random.default_rng(seed)
    key = draw.bytes(32)
    taken = np.array([is_taken(key, "ferops:v2", f"client {n}", share=rules.share) for n in range(clients)])
    means = 0.75 + draw.normal(0, between, clients)
    trial = Trial()
    for number, client in enumerate(draw.integers(0, clients, IMAGES), start=1):
        by_canary = bool(taken[client])
        figures = trial.canary if by_canary else trial.champion
        work_s = 0.02 * float(draw.lognormal(0, 0.3)) * (ratio if by_canary else 1)
        confidence = float(np.clip(draw.normal(means[client], 0.2), 0.17, 1)) - drop * by_canary
        figures.note(work_s=work_s, confidence=confidence)
        if number % EVERY == 0 and (found := trial.verdict(rules)) is not None:
            return trial.canary.images, found[0]
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    rules = config.parse(presets.parse(presets.render("quick"))).canary
    print(f"{rules}\n{runs} canaries, {IMAGES:,} images each\n")
    print(
        "| clients | clients differ by | drop of confidence | times as slow | ended | by | after images of it, median |"
    )
    print("|---:|---:|---:|---:|---:|---|---:|")
    cases = [
        *((clients, between, 0.0, 1.0) for clients in (1000, 20) for between in (0.0, 0.05, 0.1)),
        (1000, 0.05, 0.08, 1.0),
        (1000, 0.05, 0.15, 1.0),
        (1000, 0.05, 0.0, 1.3),
        (1000, 0.05, 0.0, 1.7),
    ]
    for clients, between, drop, ratio in cases:
        every = (
            images_until_ended(rules, clients=clients, between=between, drop=drop, ratio=ratio, seed=seed)
            for seed in range(runs)
        )
        found = [each for each in every if each is not None]
        by = ", ".join(sorted({reason for _, reason in found}))
        after = f"{np.median([images for images, _ in found]):.0f}" if found else ""
        share = f"{100 * len(found) / runs:.0f} %"
        print(f"| {clients} | {between} | {drop} | {ratio} | {share} | {by} | {after} |", flush=True)


if __name__ == "__main__":
    main()
