"""Errors that a user can cause and mend; everything else is a bug and keeps its stack trace."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def printable(text: str) -> str:
    """Text on one line of a terminal: signs that would move the cursor, or colour anything, are spelled out."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def shown(value: object, most: int = 60) -> str:
    """What a file or a user gave, fit for a message of one line: cut to ``most`` characters, nothing unprintable."""
    text = printable(str(value)[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"


def offered(names: Iterable[str], asked: str, between: str = ", ", most: int = 160) -> str:
    """Names to choose from in a message of one line; of many those that look like ``asked``, and how many more."""
    every = list(names)
    if len(between.join(every)) <= most:
        return between.join(every)
    near = difflib.get_close_matches(asked, every, n=len(every), cutoff=0.0)
    kept = near[:1]
    while len(between.join([*kept, near[len(kept)]])) <= most:
        kept.append(near[len(kept)])
    return f"{between.join(kept)} and {len(every) - len(kept)} more"


class HmuError(Exception):
    """A user's mistake, said in one line: the file or key, what was expected, what to do.

    Entry scripts and tools print the message alone (no stack trace) and exit with code 2.
    """


class ConfigError(HmuError):
    """The composed configuration cannot work (unknown key, incompatible pair, impossible value)."""


class DataError(HmuError):
    """A data file or folder is missing, broken, or of the wrong shape."""


class CheckpointError(HmuError):
    """A checkpoint, edit or run folder is missing, corrupt, unsafe, or of another family."""


class MissingExtra(HmuError):
    """An optional dependency is needed; the message names the extra that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}': install it with  pip install 'hmu[{extra}]'")
