"""What is compared: the traffic that the service logged, and the reference, both as frames of the same columns."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.inference.measures import MEASURES
from ferops.layout import Layout
from ferops.monitoring.traffic import PATTERN
from ferops.scratch import scratch_folder
from ferops.tables import Kind, read_parquet

COLUMNS = ("status", "answer", "confidence", *MEASURES)
"""Of both frames: one row for each image, about its preferred face; null where none was found."""

MIN_FACES = 50
"""Of a reference: the tests are asymptotic."""

_NUMBERS: dict[str, Kind] = dict.fromkeys(("confidence", *MEASURES), "number or null")
_TRAFFIC: dict[str, Kind] = {"label": "text or null", "model_version": "text", "status": "text", **_NUMBERS}
_EVALUATED: dict[str, Kind] = {"answer": "text or null", "label": "text or null", "status": "text", **_NUMBERS}
_MADE_BY = "ferops serve, with serve.log_dir"


def read_traffic(folder: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the traffic in order of time, and the names of files that are damaged.

    The frame has `time`, `model_version`, `role`, `image_hash` and COLUMNS.

    Raises:
        FeropsError: there is no traffic, or it is not that of a service.
    """
    frames, damaged = [], []
    for file in sorted(folder.glob(PATTERN)):
        try:
            frames.append(_traffic(file))
        except FileNotFoundError:  # the service has removed its oldest
            continue
        except (pa.ArrowException, OSError, KeyError):
            damaged.append(file.name)
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        found = f" ({', '.join(damaged)}: damaged)" if damaged else ""
        raise FeropsError(
            f"{folder} holds no traffic{found}. Set serve.log_dir in params.yaml, start `ferops serve` and use it"
        )
    return pd.concat(frames, ignore_index=True).sort_values("time", kind="stable", ignore_index=True), tuple(damaged)


def _traffic(file: Path) -> pd.DataFrame:
    columns = ["time", "model_version", "image_hash", "face", "label", "status", "confidence", *MEASURES]
    frame: pd.DataFrame = pq.read_table(file, columns=[*columns, "role"]).to_pandas()
    if "role" not in frame:  # a file from before there were canaries
        frame["role"] = "champion"
    if missing := set(columns) - set(frame.columns):
        raise KeyError(missing)
    preferred = frame[frame["face"] <= 1]
    return preferred.rename(columns={"label": "answer"}).drop(columns="face")


def read_reference(path: Path) -> pd.DataFrame:
    """Return a reference: COLUMNS, and `label` and `right` where the labels are known.

    Args:
        path: `end_to_end.parquet` of an evaluation, or a file or folder of traffic.

    Raises:
        FeropsError: it is neither, or holds too few faces.
    """
    if path.is_dir():
        frame = read_traffic(path)[0]
    elif _has(path, "answer"):
        frame = read_parquet(path, _EVALUATED, made_by="dvc repro evaluate")
        wrong_face = frame["wrong_face"].fillna(False).astype(bool)
        frame = frame.assign(right=(frame["answer"] == frame["label"]) & ~wrong_face)
    else:
        read_parquet(path, _TRAFFIC, made_by=_MADE_BY)
        frame = _traffic(path)
    faces = int(frame["answer"].notna().sum())
    if faces < MIN_FACES:
        raise FeropsError(f"{path} has {faces} faces, too few to compare with. A reference needs {MIN_FACES} or more")
    return frame


def _has(path: Path, column: str) -> bool:
    try:
        return column in pq.read_schema(path).names
    except FileNotFoundError as error:
        raise FeropsError(f"{path} does not exist. Name a file of `dvc repro evaluate` or a log of traffic") from error
    except (pa.ArrowException, OSError) as error:
        raise FeropsError(
            f"{path} is no Parquet file. Name end_to_end.parquet of an evaluation, or a file or folder of traffic"
        ) from error


def reference_of(layout: Layout, params: Params, version: str) -> tuple[str, pd.DataFrame]:
    """Return what the evaluation of a registered version left, and how it is called.

    Raises:
        FeropsError: the version is the starter's, is not in the registry, or was registered by an older ferops.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from ferops.registry.connection import connected, fluent, is_unanswered
    from ferops.registry.versions import resolve

    other = "Name one: ferops monitor --reference FILE (a quiet week of traffic, or an evaluation's end_to_end.parquet)"
    if not version.isdecimal():
        raise FeropsError(f"the {version} model has no evaluation of its own here to compare its traffic with. {other}")
    name = f"models:/{params.registry.model_name}/{version}"
    with connected(layout) as client, scratch_folder(layout.state, "reference") as scratch:
        run_id = resolve(client, name).run_id
        try:
            with fluent(client):
                file = download_artifacts(
                    run_id=run_id, artifact_path="evaluate/end_to_end.parquet", dst_path=str(scratch)
                )
        except (MlflowException, OSError) as error:
            if is_unanswered(error):
                raise
            raise FeropsError(f"an older ferops registered {name}, without a reference. {other}") from error
        return f"the evaluation of version {version}", read_reference(Path(file))
