"""Runs the suites as checkpoints in a Great Expectations file context, and writes its Data Docs."""

from __future__ import annotations

import html
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from ferops.config import Validate
from ferops.escape import inline
from ferops.records.validate import ExpectationResult
from ferops.validation.data_docs import make_readable_offline


def run_checkpoints(
    incoming: pd.DataFrame,
    accepted: pd.DataFrame,
    settings: Validate,
    classes: Sequence[str],
    *,
    folder: Path,
    data_docs: Path,
) -> tuple[ExpectationResult, ...]:
    """Validate both frames, keep the context in `folder`/gx, and put the Data Docs in `data_docs`.

    `incoming` and `accepted` are described in `expectations`. Nothing is sent anywhere and nothing is printed.
    """
    with _quiet():
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        from ferops.validation import expectations

        context = gx.get_context(mode="file", project_root_dir=folder)
        context.enable_analytics(enable=False)
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        source = context.data_sources.add_pandas("ferops")
        results = []
        for name, frame, suite in (
            ("incoming", incoming, expectations.incoming_suite(settings)),
            ("accepted", accepted, expectations.accepted_suite(settings, classes)),
        ):
            batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
            added = context.suites.add(gx.ExpectationSuite(name=name, expectations=suite))
            definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=added))
            checkpoint = context.checkpoints.add(
                gx.Checkpoint(name=name, validation_definitions=[definition], result_format="SUMMARY")
            )
            done = checkpoint.run(batch_parameters={"dataframe": _escaped(frame)})
            for run in done.run_results.values():
                results += [_expectation_result(name, result, rows=len(frame)) for result in run.results]
        context.build_data_docs()
    shutil.move(folder / "gx" / "uncommitted" / "data_docs" / "local_site", data_docs)
    make_readable_offline(data_docs)
    return tuple(results)


def _escaped(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with all text escaped for HTML: Data Docs insert it as it is. A class stays the same."""

    def each(value: Any) -> Any:
        return html.escape(inline(value)) if isinstance(value, str) else value

    texts = [name for name in frame.columns if not is_numeric_dtype(frame[name])]
    return frame.assign(**{name: frame[name].map(each, na_action="ignore") for name in texts}).rename(columns=each)


def _expectation_result(suite: str, result: Any, *, rows: int) -> ExpectationResult:
    return ExpectationResult(
        suite=suite,
        wanted=str(result.expectation_config.description),
        observed=html.unescape(_observed(result, rows=rows)),
        success=bool(result.success),
    )


def _observed(result: Any, *, rows: int) -> str:
    if result.exception_info.get("raised_exception"):
        return f"the check itself failed: {result.exception_info.get('exception_message')}"
    found = result.result
    if "unexpected_count" in found:
        count = found["unexpected_count"]
        examples = [str(one) for one in found.get("partial_unexpected_list", [])[:3] if not isinstance(one, bool)]
        return f"{count:,} of {rows:,} rows differ" + (f", such as {', '.join(examples)}" if examples else "")
    missing = found.get("details", {}).get("mismatched", {}).get("missing")
    if isinstance(found.get("observed_value"), list):  # of columns: only missing ones matter
        return f"missing: {', '.join(missing)}" if missing else "all of them"
    return str(found.get("observed_value"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Great Expectations' logging, warnings and analytics off."""
    before = os.environ.get("GX_ANALYTICS_ENABLED")
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when a context is made
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the library
            yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ["GX_ANALYTICS_ENABLED"]
        else:
            os.environ["GX_ANALYTICS_ENABLED"] = before
