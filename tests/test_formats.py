from __future__ import annotations

from ferops.formats import figure, interval, megabytes, percent, points
from ferops.records.metrics import Interval

SHARE = Interval(value=0.613, low=0.58, high=0.6412)
NOTHING = Interval(value=None, low=None, high=None, reason="no faces")
ALONE = Interval(value=0.5, low=None, high=None, reason="one cluster has no spread")


def test_shares_and_differences() -> None:
    assert interval(SHARE) == "61.3 (58.0 to 64.1)"
    assert interval(Interval(value=-0.05, low=-0.1, high=0.0), signed=True) == "−5.0 (−10.0 to +0.0)"
    assert percent(0.6135, 0) == "61\u00a0%"
    assert points(0.014) == "+1.4"
    assert points(-0.0001) == "+0.0"


def test_other_figures() -> None:
    assert figure(SHARE) == "0.613 (0.580 to 0.641)"
    assert figure(Interval(value=-0.0001, low=-0.0004, high=-0.0)) == "0.000 (0.000 to 0.000)"
    assert megabytes(4_940_000) == "4.9\u00a0MB"


def test_what_is_not_known_says_so() -> None:
    assert interval(NOTHING) == figure(NOTHING) == "n/a: no faces"
    assert interval(ALONE) == "50.0 (no interval)"
    assert figure(ALONE) == "0.500 (no interval)"
    assert percent(None) == points(None) == "n/a"
