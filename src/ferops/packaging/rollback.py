"""`ferops rollback`: back to the version that was served before, whose Bento is still there."""

from __future__ import annotations

from ferops.config import Params
from ferops.errors import FeropsError
from ferops.layout import Layout
from ferops.packaging.bento import bento_folder, former_tags, packaged
from ferops.packaging.reconcile import reconcile
from ferops.records.register import Promotion
from ferops.registry.promotion import aliases, promote
from ferops.registry.versions import CHAMPION


def rollback(layout: Layout, params: Params) -> tuple[Promotion, str]:
    """Move the alias champion to the version that this project packaged before the champion, and serve its Bento.

    Which one that is does not depend on how the champion was promoted: by a verb, or in the MLflow UI.

    Returns:
        what `promote` did, and what `reconcile` did.

    Raises:
        FeropsError: no earlier Bento is there, or its version may not be promoted (as `promote`).
    """
    now = f"{params.package.bento_name}:v{aliases(layout, params).get(CHAMPION)}"
    served = packaged(layout)
    earlier = [tag for tag in [*former_tags(layout), *([served] if served else [])] if tag != now]
    if not earlier or not bento_folder(layout, earlier[-1]).exists():
        raise FeropsError(
            f"there is no Bento that was served before {now}, so there is nothing to go back to. Promote another "
            "version by its number: ferops promote VERSION, then ferops package"
        )
    done = promote(layout, params, earlier[-1].partition(":")[2])
    return done, reconcile(layout, params)
