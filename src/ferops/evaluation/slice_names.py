"""What slices and their columns are called, in the report, the model card and the drawings."""

from __future__ import annotations

from ferops.records.metrics import Slice

_COLUMNS = {
    "source": ("Source", "the data set the image comes from"),
    "brightness": ("Brightness", "mean grey level of the image, 0-255, in thirds"),
    "sharpness": ("Sharpness", "variance of the Laplacian at 48 px, in thirds"),
    "face_px": ("Face size", "mean side of the face in pixels of the source image, in thirds"),
    "yaw_degrees": ("Head turn", "absolute yaw in degrees, estimated from landmarks, in thirds"),
}


def column_name(column: str) -> tuple[str, str]:
    """Return name and meaning of a slice column; a `group_` column is named after its attribute."""
    attribute = column.removeprefix("group_").replace("_", " ")
    return _COLUMNS.get(column, (attribute.capitalize(), "as annotated in the data set"))


def slice_name(found: Slice) -> str:
    """Return "Head turn: below 8"."""
    return f"{column_name(found.column)[0]}: {value_name(found)}"


def value_name(found: Slice) -> str:
    """Return "monk 05" for monk_05, a group of people; a source keeps the name that it has in data/."""
    return found.value.replace("_", " ") if found.kind == "people" else found.value
