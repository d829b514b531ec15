"""From the aliases to Bentos: the champion's, and those beside it.

Safe to repeat: a schedule, a webhook and a person may all call it.

Only `serve` falls back to the starter model: a schedule builds nothing without a champion.
"""

from __future__ import annotations

from collections.abc import Callable

from ferops.config import Params
from ferops.errors import RegistryAwayError
from ferops.layout import Layout
from ferops.scratch import scratch_folder


def reconcile(layout: Layout, params: Params) -> str:
    """Make sure that Bentos exist for the versions that `champion`, `shadow` and `canary` point to; return a message.

    Afterwards `serve` starts exactly the champion's Bento; without a champion it starts none.

    Raises:
        FeropsError: the registry cannot be reached, or the champion's files cannot be packaged.
    """
    from ferops.packaging.bento import forget, package
    from ferops.packaging.beside import reconcile_beside
    from ferops.registry.promotion import champion

    with scratch_folder(layout.state, "champion") as scratch:
        found = champion(layout, params, scratch / "model", judged=True)
        if found is None:
            forget(layout)
            return (
                f"No version of {params.registry.model_name} has the alias champion yet. "
                "Set it in the MLflow UI (Model registry), or: ferops promote VERSION"
            )
        version, model_folder = found
        message = package(layout, params, model_folder=model_folder, version=version).message
    return "\n".join([message, *reconcile_beside(layout, params)])


def to_serve(layout: Layout, params: Params, *, say: Callable[[str], None]) -> str | None:
    """Make sure that there is a Bento to serve and return its tag: the champion's, else the starter's, else None.

    If the registry does not answer, the Bento that was packaged last is served, and this is said. Calls `say` with each
    line of progress; for the starter also with its description, its terms and the next steps.

    Raises:
        FeropsError: as `reconcile`; or the starter cannot be fetched or packaged.
    """
    from ferops.packaging.bento import packaged

    try:
        say(reconcile(layout, params))
    except RegistryAwayError as error:
        tag = packaged(layout)
        if tag is None:
            raise
        say(f"The registry does not say which version is champion now: {error}")
        say(f"Served is {tag}, which was packaged last.")
        return tag
    tag = packaged(layout)
    if tag is not None:
        return tag
    return starter_to_serve(layout, params, say=say, until_then=True)


def starter_to_serve(
    layout: Layout, params: Params, *, say: Callable[[str], None], until_then: bool = False
) -> str | None:
    """Make sure that there is a Bento of the starter model and return its tag; None if the project has no starter.

    Raises:
        FeropsError: it cannot be fetched or packaged.
    """
    from ferops.packaging.bento import package_starter
    from ferops.starter.folder import CARD_FILE, NOTICE_FILE, fetch

    starter = fetch(layout)
    if starter is None:
        return None
    if until_then:
        say("Until then, the starter model is served.")
    built = package_starter(
        layout, params, starter_folder=starter.folder, starter_version=starter.version, about=starter.about
    )
    say(f"\n{starter.about.summary}\n{starter.about.terms}")
    say(f"Its card: {starter.folder / CARD_FILE}. Its terms: {starter.folder / NOTICE_FILE}.")
    say("To serve your own model: make run, make promote VERSION=1, make serve.\n")
    say(built.message)
    return built.tag
