"""What the data must meet to enter, as Great Expectations suites. Imported by the stage only: this library is slow.

Every expectation carries a `description` in plain words; it is what Data Docs shows and what a failure says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from great_expectations.compatibility import pydantic
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.core import (
    ExpectColumnValuesToBeBetween,
    ExpectColumnValuesToBeInSet,
    ExpectColumnValuesToBeUnique,
    ExpectColumnValuesToMatchRegex,
    ExpectColumnValuesToNotBeNull,
    ExpectTableColumnsToMatchSet,
    ExpectTableRowCountToBeBetween,
)
from great_expectations.expectations.expectation import ColumnAggregateExpectation
from great_expectations.expectations.metrics.column_aggregate_metric_provider import (
    ColumnAggregateMetricProvider,
    column_aggregate_value,
)
from great_expectations.expectations.row_conditions import Column

from ferops.config import Validate
from ferops.formats import percent

SHA256_HEX = "^[0-9a-f]{64}$"


class ColumnValueShares(ColumnAggregateMetricProvider):
    """Share of each value of `value_set` among the non-null values, as a dict; 0 for a value that does not occur."""

    metric_name = "column.ferops_value_shares"
    value_keys = ("value_set",)

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column: Any, value_set: list[str], **_: Any) -> dict[str, float]:  # noqa: N805
        shares = column.value_counts(normalize=True)
        return {value: round(float(shares.get(value, 0.0)), 4) for value in value_set}


class ExpectColumnValueSharesToBeBetween(ColumnAggregateExpectation):
    """Expect every value of `value_set` to make up between `min_value` and `max_value` (shares, 0-1) of a column.

    Great Expectations has no expectation for the balance of a categorical column that names the values at fault.
    """

    value_set: list[str] = pydantic.Field()
    min_value: float = pydantic.Field()
    max_value: float = pydantic.Field()

    metric_dependencies = ("column.ferops_value_shares",)
    success_keys = ("value_set", "min_value", "max_value")
    args_keys = ("column", "value_set", "min_value", "max_value")

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        del runtime_configuration, execution_engine
        shares = metrics["column.ferops_value_shares"]
        outside = {name: share for name, share in shares.items() if not self.min_value <= share <= self.max_value}
        observed = ", ".join(f"{name} {percent(share, 2)}" for name, share in (outside or shares).items())
        return {"success": not outside, "result": {"observed_value": observed}}


def incoming_suite(settings: Validate) -> list[Any]:
    """Expectations on the raw rows: the frame of `stage._incoming_frame`, one row per image that came in."""
    decode_share = 1.0 - settings.max_quarantine_share
    return [
        ExpectTableRowCountToBeBetween(min_value=1, description="there is at least one row"),
        ExpectTableColumnsToMatchSet(
            column_set=["image_id", "label", "source", "usage", "subject", "width", "height"],
            exact_match=False,
            description="the raw files have the columns of docs/files.md",
        ),
        ExpectColumnValuesToMatchRegex(
            column="image_id", regex=SHA256_HEX, description="image_id is a SHA-256 in hex (64 digits)"
        ),
        ExpectColumnValuesToBeInSet(
            column="id_matches", value_set=[True], description="image_id is the SHA-256 of the image's bytes"
        ),
        ExpectColumnValuesToBeInSet(
            column="usage", value_set=["train", "val", "test"], description="usage is train, val, test or null"
        ),
        ExpectColumnValuesToBeInSet(
            column="decodes",
            value_set=[True],
            mostly=decode_share,
            description=f"at least {percent(decode_share, 0)} of the images can be decoded",
        ),
        ExpectColumnValuesToBeInSet(
            column="quarantined",
            value_set=[False],
            mostly=decode_share,
            description=f"at most {percent(settings.max_quarantine_share, 0)} of the rows that are not excluded are "
            "quarantined (max_quarantine_share)",
        ),
    ]


def accepted_suite(settings: Validate, classes: Sequence[str]) -> list[Any]:
    """Expectations on the accepted rows: the manifest's columns plus grey_std, shorter_px and longer_px."""
    low, high = settings.min_class_share, settings.max_class_share
    per_class = [
        ExpectTableRowCountToBeBetween(
            min_value=settings.min_rows_per_class,
            row_condition=Column("label") == name,
            description=f"at least {settings.min_rows_per_class} accepted rows of {name} (min_rows_per_class)",
        )
        for name in classes
    ]
    return [
        ExpectColumnValuesToBeUnique(column="image_id", description="one accepted row per image_id"),
        ExpectColumnValuesToBeUnique(column="pixel_hash", description="no two accepted images have the same pixels"),
        ExpectColumnValuesToNotBeNull(column="label", description="every accepted row has a label"),
        ExpectColumnValuesToBeInSet(
            column="label",
            value_set=list(classes),
            description=f"accepted labels are {', '.join(classes)}",
        ),
        ExpectColumnValuesToBeBetween(
            column="shorter_px",
            min_value=settings.min_side_px,
            description=f"accepted images have sides of at least {settings.min_side_px} px (min_side_px)",
        ),
        ExpectColumnValuesToBeBetween(
            column="longer_px",
            max_value=settings.max_side_px,
            description=f"accepted images have sides of at most {settings.max_side_px} px (max_side_px)",
        ),
        ExpectColumnValuesToBeBetween(
            column="grey_std",
            min_value=settings.blank_std,
            description=f"no accepted image is blank: grey levels spread by {settings.blank_std:g} or more (blank_std)",
        ),
        ExpectColumnValuesToBeBetween(
            column="brightness", min_value=0, max_value=255, description="brightness is a grey level, 0 to 255"
        ),
        *per_class,
        ExpectColumnValueSharesToBeBetween(
            column="label",
            value_set=list(classes),
            min_value=low,
            max_value=high,
            description=f"each class is {percent(low, 0)} to {percent(high, 0)} of what is accepted "
            "(min_class_share, max_class_share)",
        ),
    ]
