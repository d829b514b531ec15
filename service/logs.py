"""Log lines that clients cannot forge: what a request holds is shown escaped, and cut where it is long."""

from __future__ import annotations

import logging

LONGEST = 1000
"""Characters of a message; a path alone may have 64 kB."""


def printable(text: str) -> str:
    """Return `text` on one line, without anything that a terminal acts on or that turns the direction of reading."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text) - LONGEST} more characters)"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


class SafeFormatter(logging.Formatter):
    """Another formatter's format, with the message escaped, and each line of a traceback indented by a bar."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        safe = logging.makeLogRecord(record.__dict__)
        safe.msg, safe.args = printable(record.getMessage().strip()), None
        safe.exc_info = safe.exc_text = safe.stack_info = None
        line = self._inner.format(safe)
        if not record.exc_info:
            return line
        # An error's message may quote a request: no line of it can look like one of the log's own
        traceback = self._inner.formatException(record.exc_info).splitlines()
        return "\n".join([line, *(f"  | {printable(each)}" for each in traceback)])


def protect() -> None:
    """Make every handler that exists now escape; BentoML has set up its own before it loads the service."""
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if not isinstance(handler.formatter, SafeFormatter):
            handler.setFormatter(SafeFormatter(handler.formatter))
