"""What the block `data` of params.yaml makes of the raw rows: which take part, and what their label counts as."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from ferops.config import CLASSES, OTHER_LABELS, Data


def relabel(raw: pa.Table, settings: Data) -> pa.Table:
    """Return `raw` with each of OTHER_LABELS that counts as a class (`data.other_labels`) replaced by that class.

    The raw files keep what was published; the manifest and all that follows hold what is returned here.
    """
    counts_as = settings.other_labels.model_dump()
    renamed = {name: counts_as[name] for name in OTHER_LABELS if counts_as[name] in CLASSES}
    place = raw.schema.get_field_index("label")
    labels = [renamed.get(label, label) for label in raw.column(place).to_pylist()]
    return raw.set_column(place, raw.schema.field(place), pa.array(labels, type=pa.string()))


def takes_part(usage: pd.Series, settings: Data) -> pd.Series:
    """Return which rows belong to the official parts in `data.usage`; a row without an official part always does."""
    return usage.isna() | usage.isin(settings.usage)
