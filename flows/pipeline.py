"""The pipeline as Prefect sees it: one task per stage of dvc.yaml. `dvc repro` does the same without a server."""

from __future__ import annotations

import re
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from ferops.layout import Layout
from ferops.local import stack
from ferops.orchestration import dag, summary
from ferops.orchestration.outcome import Outcome
from ferops.orchestration.overview import write_overview


@task(task_run_name="{stage}")
def reproduce(stage: str, force: bool) -> None:
    """Bring one stage up to date, stream its log, and leave its summary as an artifact."""
    logger = get_run_logger()
    dag.reproduce(Path(), stage, on_line=logger.info, force=force)
    name = stage.replace("@", "/")  # train@baseline reports to reports/train/baseline/
    create_markdown_artifact(
        key=re.sub(r"[^a-z0-9]+", "-", name.lower()) + "-summary",  # the characters that Prefect accepts
        markdown=summary.markdown(Layout().summary(name)),
        description=f"reports/{name}/summary.json",
    )


@flow(name="pipeline", log_prints=True)
def pipeline(force: bool = False, until: str = "", only: str = "") -> None:
    """Run the stages of dvc.yaml that are out of date, in the order of the DAG.

    Args:
        force: Run the stages even if nothing has changed.
        until: Last stage to run, e.g. `evaluate` or `train@candidate`. Empty means all.
        only: Run this one stage and no other. Empty means all.
    """
    stack.require_tracking_server(Layout())
    stages = dag.select(dag.stages(Path()), only=only, until=until)
    for stage in stages:
        reproduce(stage, force)
    if "register" in stages:  # before it there is no outcome to show
        write_overview(Layout(), Outcome.read(Layout()))


if __name__ == "__main__":
    pipeline()
