"""The verb blur: copies of images or of a video in which the faces that are found cannot be recognised."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ferops import threads
from ferops.cli.base import end, note
from ferops.layout import Layout

verbs = typer.Typer()

NOT_FOUND = "faces that were not found are as they were: look before you publish"


@verbs.command()
def blur(
    source: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="images, folders, globs, lists (.txt); or a video")
    ],
    to: Annotated[Path, typer.Option(metavar="DIR|FILE", help="where the copies go")],
    batch: Annotated[int, typer.Option(min=1, max=1024, help="images at a time; more take more memory")] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="go on with images that an earlier run has begun")] = False,
) -> None:
    """Copy images or a video with the faces unrecognisable. No expression is shown, and nothing is drawn in."""
    from ferops.video.source import is_video

    if any(is_video(each) for each in source):
        from ferops.cli.video import predict_video
        from ferops.video.run import Outputs, Settings

        if resume:
            raise typer.BadParameter("--resume concerns images; a video is copied as a whole")
        note(NOT_FOUND)
        # Each frame is searched: who is seen for the first time is not to wait for the next search
        predict_video(source, None, Outputs(annotated=to), Settings(detect_every=1, blur=True, marks=False))
        return
    from ferops.cli.predict import run_images
    from ferops.inference.annotated import AnnotatedSink
    from ferops.inference.sources import Sources
    from ferops.inference.words import Tally
    from ferops.scoring.opening import opened

    sources = Sources(source)
    extent = sources.extent()
    copies = AnnotatedSink(to, root=sources.root, images=extent.images, blur=True, resume=resume, marks=False)
    threads.choose("blur")
    with opened(Layout.find(or_here=True), None) as ready:
        tally = Tally(labelled=False)
        stopped, unreadable = run_images(sources, extent, ready, [], tally, drawing=copies, batch=batch)
    note(NOT_FOUND)
    end(stopped=stopped, unreadable=unreadable)
