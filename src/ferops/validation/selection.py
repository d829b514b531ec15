"""What the block `data` of params.yaml makes of the raw rows: which take part, and what their label counts as."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from ferops.config import Data


def map_labels(raw: pa.Table, settings: Data) -> pa.Table:
    """Return `raw` with each label that counts as a class (`data.map`) replaced by that class.

    The raw files keep what was published; the manifest and all that follows hold what is returned here.
    """
    place = raw.schema.get_field_index("label")
    labels = [settings.map.get(label, label) for label in raw.column(place).to_pylist()]
    return raw.set_column(place, raw.schema.field(place), pa.array(labels, type=pa.string()))


def takes_part(usage: pd.Series, settings: Data) -> pd.Series:
    """Return which rows belong to the official splits in `data.usage`; a row without an official split always does."""
    return usage.isna() | usage.isin(settings.usage)
