from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios
from typing import TextIO

from ferops.training.bar import Bar
from trained import epoch as row

COLUMNS = 80
END = "\x04"


def show(screen: TextIO, *, shown: bool = True) -> None:
    scores = {1: 0.25, 2: 0.5, 3: 0.4}
    with Bar(images=300, done=0, epochs=3, stream=screen, shown=shown) as bar:
        for epoch, macro_f1 in scores.items():
            bar.start_epoch(epoch)
            for _ in range(5):
                bar.update(20)
            best = max((one for one in scores if one <= epoch), key=lambda one: scores[one])
            bar.end_epoch(row(epoch, val_macro_f1=macro_f1), best=row(best, val_macro_f1=scores[best]))


def show_in_terminal(*, rows: int) -> str:
    """What arrives in a real (pseudo) terminal of this size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, COLUMNS, 0, 0))
    drawn = b""
    with os.fdopen(ours, "rb", buffering=0) as reader, os.fdopen(theirs, "w", encoding="utf-8") as screen:
        show(screen)
        screen.write(END)
        screen.flush()
        while not drawn.endswith(END.encode()):
            drawn += reader.read(1 << 16)
    return drawn.decode().removesuffix(END).replace("\r\n", "\n")


def test_a_log_gets_one_line_an_epoch_and_no_carriage_return() -> None:
    screen = io.StringIO()
    show(screen)
    shown = screen.getvalue()
    assert "\r" not in shown
    lines = shown.splitlines()
    pattern = (
        r"epoch (\d)/3, (\d+) % of all done, [\d.]+k? images/s, ETA \d\d:\d\d, "
        r"val macro-F1 (\d\.\d{3}), best (\d\.\d{3}) \(epoch (\d)\)"
    )
    found = [
        re.fullmatch(pattern, line.replace("? images/s", "0 images/s").replace("ETA ?", "ETA 00:00")) for line in lines
    ]
    told = [match.groups() for match in found if match]
    assert len(told) == len(lines)
    assert told == [
        ("1", "33", "0.250", "0.250", "1"),
        ("2", "67", "0.500", "0.500", "2"),
        ("3", "100", "0.400", "0.500", "2"),
        ("3", "100", "0.400", "0.500", "2"),  # the last word, with the rate over the whole training
    ]


def test_a_terminal_gets_one_bar_that_is_drawn_over() -> None:
    shown = show_in_terminal(rows=24)
    states = shown.rstrip("\n").split("\r")
    assert shown.count("\n") == 1
    assert len(states) > 4
    assert re.fullmatch(r"epoch 3/3 100%\|█+\| .* img/s, ETA 00:00, F1 0\.400, best 0\.500 \(epoch 2\) *", states[-1])
    assert max(len(state) for state in states) <= COLUMNS


def test_a_terminal_of_unknown_size_gets_lines() -> None:
    shown = show_in_terminal(rows=0)
    assert "\r" not in shown
    assert len(shown.splitlines()) == 4


def test_silence() -> None:
    screen = io.StringIO()
    show(screen, shown=False)
    assert screen.getvalue() == ""


def test_a_run_that_goes_on_starts_where_it_was() -> None:
    screen = io.StringIO()
    with Bar(images=400, done=300, epochs=4, stream=screen) as bar:
        bar.start_epoch(4)
        bar.update(100)
        bar.end_epoch(row(4), best=row(4))
    assert all("100 % of all done" in line for line in screen.getvalue().splitlines())
