"""Write a model in other formats, and compare each file with the model as it is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import torch
from numpy.typing import NDArray

from ferops import threads
from ferops.edge.formats import TARGETS, require_installed
from ferops.edge.source import Source
from ferops.errors import FeropsError
from ferops.export.latency import median_s
from ferops.files import atomic_folder, sha256
from ferops.machine import cpu_name
from ferops.model_config import WEIGHTS_FILE, ExportConfig
from ferops.records.conversion import Agreement, Conversion, ConvertedFile, Format
from ferops.scratch import scratch_folder

TOLERANCE = 0.02
"""Largest accepted difference of a probability from those of the FP32 network, for the formats that are made from it.
Rounding stays near 1e-6 in FP32; TF32 and FP16 reach about 5e-3."""

BUDGET_S = 0.4
"""Time for each measurement of the latency, in seconds."""


@dataclass(frozen=True, eq=False)  # arrays have no single truth value to compare by
class Compared:
    """Faces, uint8 `(N, S, S, 3)`, what the served model answers, float32 `(N, K)`, and where the faces are from."""

    faces: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    origin: str


def require_possible(formats: Sequence[Format], out: Path) -> None:
    """Raises FeropsError: a converter is missing, or `out` exists."""
    for name in formats:
        require_installed(name)
    if out.exists():
        raise FeropsError(f"{out} exists, and would be replaced. Name a new folder, or remove it")


def convert(
    name: str,
    config: ExportConfig,
    *,
    served: Path,
    weights: Path | None,
    compared: Compared,
    formats: Sequence[Format],
    out: Path,
) -> Conversion:
    """Write the folder `out`: a file for each format, config.json, and conversion.json with what is returned.

    Args:
        name: which model it is, for people.
        served: the file that answers, of which `config` is the config.
        weights: the folder of the trained weights, if they are at hand.

    Raises:
        FeropsError: a converter is missing or fails, a format needs weights that are not at hand, a file answers
            otherwise than the network that it was made from, or `out` exists.
    """
    require_possible(formats, out)
    with scratch_folder(Path(gettempdir()), "ferops-convert") as scratch, atomic_folder(out) as folder:
        source = Source(config, served, weights, scratch)
        files = tuple(_convert(source, each, compared, folder) for each in formats)
        config.write(folder / "config.json")
        result = Conversion(
            model=name,
            served=served.name,
            sha256=sha256(served),
            tta=config.tta,
            faces=len(compared.faces),
            faces_from=compared.origin,
            cpu=cpu_name(),
            threads=threads.current(),
            files=files,
            **config.model_dump(include={"classes", "size_px", "temperature"}),
        )
        result.write(folder / "conversion.json")
    return result


def _convert(source: Source, name: Format, compared: Compared, folder: Path) -> ConvertedFile:
    target = TARGETS[name]
    path = folder / target.file
    try:
        target.write(source, path)
    except FeropsError:
        raise
    except Exception as error:  # converters raise whatever they like
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise FeropsError(
            f"{source.config.architecture} cannot be written as {name}: {lines[0]}. Choose another format: "
            f"{', '.join(TARGETS)}"
        ) from error
    from_served = target.precision is None
    return ConvertedFile.model_validate(
        {
            "format": name,
            "file": target.file,
            "made_from": source.served.name if from_served else WEIGHTS_FILE,
            "precision": target.precision or source.precision,
            "size_mb": _size_mb(path),
            "agreement": _agreement(source, name, path, compared) if target.runs_here else None,
        }
    )


def _agreement(source: Source, name: Format, path: Path, compared: Compared) -> Agreement:
    run = TARGETS[name].open(path)
    found = np.concatenate([run(face[None]) for face in compared.faces])
    if TARGETS[name].precision:
        with torch.inference_mode():
            made_from = source.answering(torch.from_numpy(compared.faces)).numpy()
        difference = float(np.abs(found - made_from).max())
        if not difference <= TOLERANCE:  # NaN is refused too
            raise FeropsError(
                f"{name} computes {source.config.architecture} wrongly: a probability differs by {difference:.3g} from "
                f"that of the trained network (accepted: {TOLERANCE}). Choose another format: {', '.join(TARGETS)}"
            )
    same = found.argmax(axis=1) == compared.probabilities.argmax(axis=1)
    return Agreement(
        same_label=float(same.mean()),
        largest_difference=float(np.abs(found - compared.probabilities).max()),
        latency_ms=round(median_s(run, compared.faces[:1], BUDGET_S) * 1000.0, 3),
    )


def _size_mb(path: Path) -> float:
    parts = [path, *path.rglob("*")]
    if path.suffix == ".xml":  # OpenVINO's weights are beside it
        parts.append(path.with_suffix(".bin"))
    sizes: list[int] = [part.stat().st_size for part in parts if part.is_file()]
    return sum(sizes) / 1e6


def table(result: Conversion) -> list[str]:
    """Return the lines of the table of files, for people."""
    head = ("file", "made from", "precision", "MB", "same label", "largest difference", "ms a face")
    rows = [head, *(_row(each) for each in result.files)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(each: ConvertedFile) -> tuple[str, ...]:
    found = each.agreement
    measured = (
        (f"{found.same_label:.1%}", f"{found.largest_difference:.4f}", f"{found.latency_ms:.2f}")
        if found
        else ("not run here", "", "")
    )
    return (each.file, each.made_from, each.precision, f"{each.size_mb:.1f}", *measured)
