from __future__ import annotations

import io
import re

from ferops.training.bar import Bar


class Screen(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def show(screen: Screen, *, done: int = 0, shown: bool = True) -> str:
    scores = {1: 0.25, 2: 0.5, 3: 0.4}
    with Bar(images=300, done=done, epochs=3, stream=screen, shown=shown) as bar:
        for epoch, macro_f1 in scores.items():
            bar.start_epoch(epoch)
            for _ in range(5):
                bar.update(20)
            best = max((one for one in scores if one <= epoch), key=lambda one: scores[one])
            bar.end_epoch({"val_macro_f1": macro_f1}, best_epoch=best, best_macro_f1=scores[best])
    return screen.getvalue()


def test_a_log_gets_one_line_an_epoch_and_no_carriage_return() -> None:
    shown = show(Screen(terminal=False))
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
    shown = show(Screen(terminal=True))
    states = shown.rstrip("\n").split("\r")
    assert shown.count("\n") == 1
    assert len(states) > 4
    assert re.search(r"epoch 3/3 100%\|.*\| .* images/s, ETA 00:00, val macro-F1 0\.400, best 0\.500", states[-1])


def test_silence() -> None:
    assert show(Screen(terminal=False), shown=False) == ""


def test_a_run_that_goes_on_starts_where_it_was() -> None:
    screen = Screen(terminal=False)
    with Bar(images=400, done=300, epochs=4, stream=screen) as bar:
        bar.start_epoch(4)
        bar.update(100)
        bar.end_epoch({"val_macro_f1": 0.5}, best_epoch=4, best_macro_f1=0.5)
    assert all("100 % of all done" in line for line in screen.getvalue().splitlines())
