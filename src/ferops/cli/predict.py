"""The verb predict: the expressions of the faces in any images, as a table, files and drawings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferops import threads
from ferops.cli.base import end, introduction, note
from ferops.errors import FeropsError
from ferops.layout import Layout

if TYPE_CHECKING:
    from ferops.inference.annotated import AnnotatedSink
    from ferops.inference.sinks import Sink
    from ferops.inference.sources import Extent, Sources
    from ferops.inference.words import Tally
    from ferops.scoring.opening import Opened

verbs = typer.Typer()


@verbs.command()
def predict(  # noqa: PLR0917
    source: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="images, folders, globs, lists (.txt), - for standard input; or a video, camera:0, rtsp:// or http(s)://",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="starter, a folder, or models:/NAME@ALIAS; by default the champion, or the starter until there is one"
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="a row for each face; - is standard output")] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a JSON object on a line for each image; or -")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="the rows of --csv as Parquet")] = None,
    annotated: Annotated[
        Path | None, typer.Option(metavar="DIR|FILE", help="the images, or the video, with the faces drawn in")
    ] = None,
    blur: Annotated[bool, typer.Option("--blur", help="make the faces in --annotated unrecognisable")] = False,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="images at a time; more take more memory")] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="go on with files that an earlier run has begun")] = False,
    tracks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="video: a row for each face that was followed, as CSV")
    ] = None,
    timeline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="video: a page that shows who showed what when, as HTML")
    ] = None,
    max_fps: Annotated[
        float | None, typer.Option(min=0.001, metavar="N", help="video: look at N frames a second at most")
    ] = None,
    smooth: Annotated[
        float, typer.Option(min=0.0, metavar="S", help="video: seconds over which probabilities are smoothed; 0: not")
    ] = 0.5,
    detect_every: Annotated[
        int, typer.Option(min=1, metavar="N", help="video: search every Nth frame, and follow faces in between")
    ] = 5,
) -> None:
    """Label the expression of every face in images or a video: a line for each face, or files."""
    from ferops.video.source import is_video

    if any(is_video(each) for each in source):
        from ferops.cli.video import predict_video
        from ferops.video.run import Outputs, Settings

        outputs = Outputs(csv, json, parquet, annotated, tracks, timeline)
        predict_video(source, model, outputs, Settings(max_fps, smooth, detect_every, blur, resume))
        return
    if tracks or timeline or max_fps:
        raise typer.BadParameter("--tracks, --timeline and --max-fps concern a video; SOURCE is none")
    from ferops.inference.annotated import AnnotatedSink
    from ferops.inference.lines import refuse_existing
    from ferops.inference.sources import Sources
    from ferops.inference.words import Tally
    from ferops.scoring.opening import opened

    if blur and annotated is None:
        raise typer.BadParameter("--blur concerns the images of --annotated DIR, which is missing")
    for path in (csv, json, parquet):
        if path is not None:
            refuse_existing(path, resume=resume)
    sources = Sources(source)
    extent = sources.extent()  # a wrong name is said before the model is loaded
    layout = Layout.find(or_here=True)
    threads.choose("predict")
    with opened(layout, model) as ready, ExitStack() as stack:
        note(introduction(ready))
        files = [path for path in (csv, json, parquet, annotated) if path is not None]
        _refuse(files, parquet=parquet, resume=resume)
        drawing = (
            AnnotatedSink(annotated, root=sources.root, images=extent.images, blur=blur, resume=resume)
            if annotated
            else None
        )
        sinks = [
            stack.enter_context(closing(sink))
            for sink in _sinks(ready, csv=csv, json=json, parquet=parquet, resume=resume)
        ]
        stopped, unreadable = run_images(sources, extent, ready, sinks, Tally(), drawing=drawing, batch=batch)
    end(stopped=stopped, unreadable=unreadable)


def _refuse(files: Sequence[Path], *, parquet: Path | None, resume: bool) -> None:
    """Raises FeropsError: the files cannot be written so."""
    from ferops.inference.lines import refuse_same

    names = [str(path) for path in files]
    refuse_same(names)
    if resume and (not names or "-" in names):
        raise FeropsError("--resume goes on with files. Name those of the earlier run, as in: --csv faces.csv --resume")
    if parquet is not None and str(parquet) == "-":
        raise FeropsError("--parquet cannot be written to standard output. Name a file")


def _sinks(ready: Opened, *, csv: Path | None, json: Path | None, parquet: Path | None, resume: bool) -> Iterator[Sink]:
    from ferops.inference.sinks import CsvSink, JsonSink, ParquetSink

    classes = ready.config.classes
    if csv is not None:
        yield CsvSink(csv, classes, ready.name, resume=resume)
    if json is not None:
        yield JsonSink(json, ready.name, resume=resume)
    if parquet is not None:
        yield ParquetSink(parquet, classes, ready.name, resume=resume)


def run_images(
    sources: Sources,
    extent: Extent,
    ready: Opened,
    sinks: Sequence[Sink],
    tally: Tally,
    *,
    drawing: AnnotatedSink | None = None,
    batch: int,
) -> tuple[bool, int]:
    """Predict what `drawing` and the sinks do not hold yet, on all free cores.

    An image is drawn first, in the process that has its pixels, so that who finds a row finds the drawing.

    Returns:
        Whether it was stopped, and how many images are unreadable.
    """
    from tqdm import tqdm

    from ferops.inference.sources import read
    from ferops.inference.stream import Reader, results
    from ferops.inference.words import Table
    from ferops.scoring.opening import opened_again
    from ferops.training.bar import can_draw
    from ferops.training.interrupt import StopFlag

    held = [each.holds for each in (drawing, *sinks) if each]
    table = None if held else Table(extent.longest, ready.config.classes)
    hidden = extent.images == 1 or not can_draw(sys.stderr)
    with StopFlag() as flag, tqdm(total=extent.images, unit=" images", disable=hidden, dynamic_ncols=True) as bar:

        def missing() -> Iterator[str]:
            for name in sources:
                if flag.requested:  # what is in hand is answered and written
                    return
                if held and all(holds(name) for holds in held):
                    bar.update()
                else:
                    yield name

        reader = Reader(read, batch, drawing.write if drawing else None)
        # Only this process has the standard input
        again = None if extent.has_stdin else partial(opened_again, ready.file, ready.tta)
        with closing(results(ready.predictor, missing(), reader, again=again, count=extent.images)) as batches:
            for found in batches:
                for sink in sinks:
                    sink.write([result for result in found if not sink.holds(result.source)])
                for result in found:
                    tally.add(result)
                    for line in table.lines(result) if table else ():
                        bar.write(line, file=sys.stdout)
                bar.update(len(found))
    if flag.requested:
        again_said = ". To go on: the same command with --resume" if held else ""
        note(f"stopped after {tally}{again_said}")
    elif extent.images > 1 or held:
        note(str(tally))
    return flag.requested, tally.unreadable
