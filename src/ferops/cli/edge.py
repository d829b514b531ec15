"""Verbs for where ferops itself does not run: convert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferops import threads
from ferops.cli.base import introduction, note, say
from ferops.errors import FeropsError
from ferops.layout import Layout

if TYPE_CHECKING:
    from ferops.edge.convert import Compared
    from ferops.scoring.opening import Opened

verbs = typer.Typer()


@verbs.command()
def convert(
    wanted: Annotated[list[str], typer.Option("--for", metavar="FORMAT", help="may be given several times")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="a new folder for the files")],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="starter, a folder, or models:/NAME@ALIAS; by default the champion, or the starter until there is one",
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="compare on the faces of these images; by default on rendered faces"),
    ] = None,
) -> None:
    """Write a model for other runtimes: onnx, openvino, tflite, executorch, coreml, tensorrt; compare each file."""
    from ferops.edge import convert as edge
    from ferops.edge.formats import formats_of
    from ferops.edge.source import find_weights
    from ferops.scoring.opening import opened

    formats = formats_of(wanted)
    edge.require_possible(formats, out)  # before a model is loaded
    layout = Layout.find(or_here=True)
    threads.choose("convert")
    with opened(layout, model, tta="off") as ready:
        note(introduction(ready))
        result = edge.convert(
            ready.name,
            ready.config,
            served=ready.file,
            weights=find_weights(ready.file, ready.config, _trained(layout)),
            compared=_compared(ready, images),
            formats=formats,
            out=out,
        )
    say(*edge.table(result), f"beside the files: {out / 'conversion.json'}, {out / 'config.json'}")
    if result.tta != "off":
        note(f"the model is served with test-time augmentation ({result.tta}); a converted file looks at a face once")


def _trained(layout: Layout) -> Path | None:
    """Return the training whose export the project's is, or None outside a project."""
    from ferops.config import load_params

    if not layout.params_file.exists():
        return None
    return layout.model(load_params(layout.params_file).export.model)


def _compared(ready: Opened, images: list[str] | None) -> Compared:
    from ferops.edge.convert import Compared
    from ferops.edge.faces import rendered_faces

    if images is None:
        faces, origin = rendered_faces(ready.config.faces), "rendered"
    else:
        from ferops.inference.crops import crops_of
        from ferops.inference.sources import Sources

        faces, origin = crops_of(ready.predictor, Sources(images)), "images"
        if not len(faces):
            raise FeropsError(
                f"no face was found in {' '.join(images)}, so there is nothing to compare. Name other images"
            )
    return Compared(faces, ready.predictor.classify(faces), origin)
