"""Values that a user gives: whether they lie where they can mean something, said in one line that names the key.

Constructors call this, so that users of the library get the same lines as those of the command line.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Annotated, Any, Literal

from hmu.config_types import misfit
from hmu.durations import YEAR, about
from hmu.errors import ConfigError, shown
from hmu.values import Share, annotated

Shuffles = Annotated[int, ">= 1, <= 100000"]  #: of prompts into pools; each costs a pass over all of them


def require(key: str, value: Any, hint: Any) -> None:
    """Refuse a value that does not fit an annotation: ``require("suite.repeats", repeats, Count)``.

    Raises:
        ConfigError: naming the key as the user writes it, the value and what is expected.
    """
    if wrong := misfit(key, value, hint):
        raise ConfigError(wrong)


def check_fields(thing: Any, place: str) -> None:
    """The same for all fields of a dataclass, called ``<place>.<field>``; its module postpones annotations."""
    for field in dataclasses.fields(thing):
        if field.init and isinstance(field.type, str):
            require(f"{place}.{field.name}", getattr(thing, field.name), annotated(field.type))


def require_pair(key: str, values: object) -> tuple[float, float]:
    """AdamW's two decays: exactly two numbers from 0 on, below 1.

    Raises:
        ConfigError: naming the key.
    """
    pair = [] if isinstance(values, str) or not hasattr(values, "__iter__") else list(values)
    if len(pair) != 2 or any(misfit(key, value, Share) for value in pair):
        raise ConfigError(f"{key}={shown(pair or values)}: expected two numbers, at least 0 and below 1: [0.9, 0.99]")
    return float(pair[0]), float(pair[1])


def check_variant(key: str, value: object) -> Literal["default", "upstream"]:
    """Which of two readings of a publication is meant: ``default``, or ``upstream`` = as its authors' code runs.

    ``paper`` and ``ours`` are older spellings of ``default``: command lines and recorded runs may hold them.

    Raises:
        ConfigError: naming the key.
    """
    if value == "upstream":
        return "upstream"
    if value in ("default", "paper", "ours"):
        return "default"
    raise ConfigError(f"{key}={shown(value)}: expected default or upstream")


def require_time(key: str, value: object, count: float, each: float, what: str, limit: float = YEAR) -> None:
    """Refuse ``count`` times ``what`` (plural), ``each`` of so many seconds at least, where that passes ``limit``.

    Raises:
        ConfigError: with the estimate.
    """
    if count * each > limit:
        raise ConfigError(
            f"{key}={shown(value)}: {count:,.3g} {what} take {about(count * each)} even at "
            f"{each * 1000:g} ms each; give a smaller number"
        )


def require_memory(key: str, value: object, needed: float, what: str) -> None:
    """Refuse what needs more bytes than this machine has memory.

    Raises:
        ConfigError: with both numbers.
    """
    available = memory()
    if available is not None and needed > available:
        raise ConfigError(
            f"{key}={shown(value)}: {what} would need {needed / 1e9:,.3g} GB of memory, this machine has "
            f"{available / 1e9:,.3g} GB; give a smaller number"
        )


def memory() -> float | None:
    """Bytes of this machine's memory; None where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None
