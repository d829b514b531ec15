"""Text of others, as terminals and Markdown show it."""

from __future__ import annotations

import io

import pytest

from ferops import escape

HOSTILE = "<script>alert(1)</script>|`x`\x1b[31m\u202e\n# h"


def test_a_terminal_gets_line_breaks_and_no_control_characters() -> None:
    assert escape.lines("a\tb\nc\x1b[31m\x9b\u202e\r\x00é😀") == "a\tb\nc\\u001b[31m\\u009b\\u202e\\u000d\\u0000é😀"
    assert escape.inline("a\n\tb\u2028") == "a\\u000a\\u0009b\\u2028"
    assert escape.inline("\udc80") == "\\udc80"  # a name of a file that is no UTF-8
    stream = io.StringIO()
    print("bar 1 %\rbar 2 %", "\x1b[2J", file=escape.plain_stream(stream))
    assert stream.getvalue() == "bar 1 %\rbar 2 % \\u001b[2J\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("young_adult", r"young\_adult"),
        ("a|b", r"a\|b"),
        ("<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
        ("`x` [y](z) ![i](j) *b* ~s~", r"\`x\` \[y\](z) \!\[i\](j) \*b\* \~s\~"),
        ("https://e.org www.e.org a@e.org", "https:&#47;&#47;e.org www&#46;e.org a&#64;e.org"),
        ("# head", r"\# head"),
        ("- item", r"\- item"),
        ("12. item", r"12\. item"),
        ("a\r\n\nb", "a b"),
        ("\x1b[1m", r"\\u001b\[1m"),  # shown as \u001b[1m
        ("---", r"\---"),
        ("-1.5", "-1.5"),
        ("61.3 %, a-b (1.4)", "61.3 %, a-b (1.4)"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text: str, shown: str) -> None:
    assert escape.markdown(text) == shown


def test_code_stays_between_its_backticks() -> None:
    assert escape.code("a`b|c\nd\x1b") == "a'b\\|c d\\u001b"
