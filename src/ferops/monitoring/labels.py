"""Labels that come later: joined to the traffic by the keyed hash of the image."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.monitoring.key import log_key
from ferops.monitoring.traffic import keyed_hash
from ferops.tables import MAX_TEXT, Kind, read_parquet

_COLUMNS: dict[str, Kind] = {"image_id": "text", "label": "text"}


def read_labels(layout: Layout, path: Path) -> pd.Series[str]:
    """Return the labels of a Parquet or CSV file with the columns `image_id` and `label`, by keyed hash.

    `image_id` is the SHA-256 of the bytes that were sent, hex, as in data/; of an image that stands there twice, the
    last label counts.

    Raises:
        FeropsError: it is missing, damaged, or lacks a column.
    """
    frame = _csv(path) if path.suffix.lower() == ".csv" else read_parquet(path, _COLUMNS, made_by="whoever labels")
    key = log_key(layout)
    hashes = [keyed_hash(key, image_id.lower()) for image_id in frame["image_id"]]
    labels = pd.Series(frame["label"].to_numpy(), index=hashes, dtype="str")
    return labels[~labels.index.duplicated(keep="last")]


def _csv(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False)
    except (OSError, ValueError) as error:  # pandas' and Unicode's errors are ValueErrors
        raise FeropsError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}") from error
    if missing := sorted(_COLUMNS.keys() - set(frame.columns)):
        raise FeropsError(f"{path} lacks the columns {missing}. Supported: image_id (SHA-256 of the file) and label")
    if any(len(text) > MAX_TEXT for text in frame["label"]):
        raise FeropsError(f"{path} has a label of more than {MAX_TEXT} characters")
    return frame
