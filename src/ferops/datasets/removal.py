"""`ferops remove SOURCE`: a source leaves data/, as a new data version; what depends on it is named."""

from __future__ import annotations

from ferops.config import load_params
from ferops.datasets import swap, versioning
from ferops.datasets.raw import files_of, open_raw, sources
from ferops.errors import FeropsError
from ferops.files import atomic_folder, read_json
from ferops.layout import Layout
from ferops.provenance import data_version


def remove(layout: Layout, source: str) -> list[str]:
    """Take a source out of data/ and version what is left; return what to know about it, in lines.

    Its last version stays in DVC's cache, so that it can come back.

    Raises:
        FeropsError: there is no such source, params.yaml names it, or DVC fails; data/ and data.dvc are as before.
    """
    versioning.check_ready(layout)
    swap.settle(layout)
    if source not in sources(layout):
        raise FeropsError(
            f"there is no source {source!r} in {layout.data}; it holds {', '.join(sources(layout)) or 'none'}"
        )
    if layout.params_file.exists():
        _require_unused(layout, source)
    rows = open_raw(layout, source).num_rows
    before = data_version(layout)
    with swap.exclusive(layout):
        files = files_of(layout.data, source)
        staged = swap.workplace(layout) / source
        with atomic_folder(staged):
            pass  # nothing comes in its place
        swap.replace(layout, source, staged)
    left = layout.reports("import") / f"{source}-left-out.csv"
    left.unlink(missing_ok=True)
    made = _made_from(layout, source)
    return [
        f"{source}: {rows:,} images removed, {', '.join(map(str, files))}",
        f"data version {before} -> {data_version(layout)}",
        *([f"made from it, and still there: {', '.join(made)}"] if made else []),
        "to take it back: git checkout data.dvc && dvc checkout data.dvc",
        "to delete it for good, with all data that no file of this folder names: dvc gc --workspace (and --cloud)",
    ]


def _require_unused(layout: Layout, source: str) -> None:
    params = load_params(layout.params_file)
    used = {
        "data.sources": params.data.sources,
        "preprocess.tight_sources": params.preprocess.tight_sources,
        "train.sampling": params.train.sampling,
    }
    found = [key for key, named in used.items() if source in named]
    if found:
        raise FeropsError(
            f"{layout.params_file} names {source} in {' and '.join(found)}, so the next run would fail. Take it out "
            "there first, or apply another preset"
        )


def _made_from(layout: Layout, source: str) -> list[str]:
    """Return the models whose config.json names the source, and what a stage keeps of its images."""
    configs = [*layout.root.glob("artifacts/*/config.json"), *layout.root.glob("artifacts/train/*/config.json")]
    models = [
        str(path.parent)
        for path in sorted(configs)
        if source in read_json(path, made_by="ferops train").get("provenance", {}).get("sources", ())
    ]
    kept = [layout.artifacts("preprocess"), layout.reports("validate"), layout.reports("review") / source]
    return [*models, *(str(folder) for folder in kept if folder.exists())]
