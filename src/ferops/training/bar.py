"""The progress of a training: a bar in a terminal, a line now and then in a log file."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from tqdm import tqdm

from ferops.records.train import Epoch

LOG_EVERY_S = 30.0
"""Between lines in a log while an epoch lasts; each finished epoch gets one anyway."""

_BAR = "{desc} {percentage:3.0f}%|{bar}| {rate_noinv_fmt}, ETA {remaining}{postfix}"
"""Fits 80 columns, the bar's own room included."""
_LINE = "{desc}, {percentage:.0f} % of all done, {rate_noinv_fmt}, ETA {remaining}{postfix}"


class Bar:
    """Context manager: counts images over all epochs. Rate and ETA include the time that validation takes.

    Args:
        images: of all epochs together.
        done: those before a resume; they count for the share, not for the rate.
        epochs: of the whole training.
        shown: False shows nothing (all processes but one of a distributed training).
        stream: standard error unless given.
    """

    def __init__(
        self, *, images: int, done: int, epochs: int, shown: bool = True, stream: TextIO | None = None
    ) -> None:
        stream = stream or sys.stderr
        terminal = can_draw(stream)
        self._stream = stream
        self._epochs, self._score = epochs, "F1" if terminal else "val macro-F1"
        self._tqdm: tqdm[Any] = tqdm(
            total=images,
            initial=done,
            unit=" img" if terminal else " images",
            disable=not shown,
            file=stream if terminal else _Lines(stream),
            bar_format=_BAR if terminal else _LINE,
            dynamic_ncols=terminal,
            mininterval=0.5 if terminal else LOG_EVERY_S,
            delay=0.0 if terminal else 1e-9,  # a log needs no line that says 0 %
        )

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._tqdm.close()

    def start_epoch(self, epoch: int) -> None:
        """Name the running epoch, counted from 1."""
        self._tqdm.set_description_str(f"epoch {epoch}/{self._epochs}", refresh=False)

    def update(self, images: int) -> None:
        """Count the images of an optimiser step."""
        self._tqdm.update(images)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._tqdm.write(text, file=self._stream)

    def end_epoch(self, row: Epoch, *, best: Epoch) -> None:
        """Show how the epoch did on validation, and the best one so far."""
        found = f"{self._score} {row.val_macro_f1:.3f}, best {best.val_macro_f1:.3f} (epoch {best.epoch})"
        self._tqdm.set_postfix_str(found)


def can_draw(stream: TextIO) -> bool:
    """Whether the stream is a terminal whose size is known; tqdm draws nothing in one of 0 rows, as `script` makes."""
    return stream.isatty() and os.get_terminal_size(stream.fileno()).lines > 0


class _Lines:
    """A stream for tqdm that ends each state with a new line, where a terminal would draw over the last one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        line = text.strip("\r\n ")
        return self._stream.write(f"{line}\n") if line else 0

    def flush(self) -> None:
        self._stream.flush()
