"""The one exception that a user is meant to read."""

from __future__ import annotations


class ForeactError(Exception):
    """Bad input or an environment that cannot do what was asked.

    The message names the file, episode, key or shape at fault and what to do. The command line prints it as one line
    and exits with status 2; every other exception is a defect of foreact and keeps its traceback.
    """


class DivergedError(ForeactError):
    """A training's loss became infinite or not a number."""
