from __future__ import annotations

from answers import face, result
from ferops.classes import DEFAULT_CLASSES
from ferops.inference.stream import Result
from ferops.inference.words import Table, Tally

RESULTS = [
    result("a.jpg", face(confidence=0.974)),
    result("b.jpg", face("surprised"), face("sad", confidence=0.4)),
    result("c.jpg"),
    Result("bad\x1b.jpg", reason="It is damaged."),
]


def test_a_line_for_each_face() -> None:
    table = Table(8, DEFAULT_CLASSES)
    assert [line for each in RESULTS for line in table.lines(each)] == [
        "a.jpg     happy        97%",
        "b.jpg     surprised    75%  face 1 of 2",
        "          sad          40%  face 2 of 2  unsure",
        "c.jpg     no face",
        "…01b.jpg  unreadable  It is damaged.",
    ]


def test_long_names_keep_their_end() -> None:
    (line,) = Table(500, DEFAULT_CLASSES).lines(result("x" * 90 + "/photo.jpg"))
    assert line == "…" + "x" * 29 + "/photo.jpg  no face"


def test_the_sum() -> None:
    tally = Tally()
    assert str(tally) == "0 images, 0 faces"
    for each in RESULTS:
        tally.add(each)
    assert str(tally) == ("4 images, 3 faces (1 happy, 1 surprised, 1 sad); 1 without a face; 1 could not be read")
    assert tally.unreadable == 1
