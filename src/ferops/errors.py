"""The one exception that a person is meant to read."""


class FeropsError(Exception):
    """Bad input at the edge of the system.

    The message says what was found, what is supported and what to do. The command line prints it alone, without a
    traceback, and exits with status 1.
    """


class StoppedError(FeropsError):
    """Work was asked to stop (SIGTERM, Ctrl-C) and left at a safe point; nothing failed."""


class RegistryAwayError(FeropsError):
    """The model registry cannot be asked now: no answer, no login, a locked or damaged database. Bentos still work."""
