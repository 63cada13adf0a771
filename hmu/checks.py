"""Numbers that a user gives: whether they lie where they can mean something, said in one line that names the key.

Constructors call this, so that users of the library get the same lines as those of the command line.
"""

from __future__ import annotations

import math
from typing import Literal

from hmu.errors import ConfigError, shown

MOST_SHUFFLES = 100_000  # of prompts into pools; each costs a pass over all of them
MINUTE, DAY, YEAR = 60.0, 86_400.0, 31_557_600.0


def require(
    key: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    whole: bool = False,
    null: bool = False,
) -> None:
    """Refuse what is no finite number within the bounds.

    Args:
        key: as the user writes it, ``method.lr``; value: what was given.
        at_least, above, at_most, below: bounds, the first and third included.
        whole: only whole numbers.
        null: None is welcome too.

    Raises:
        ConfigError: naming the key, the value and what is expected.
    """
    if value is None and null:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if number and (not whole or isinstance(value, int)):
        inside = (
            (at_least is None or value >= at_least)  # type: ignore[operator]
            and (above is None or value > above)  # type: ignore[operator]
            and (at_most is None or value <= at_most)  # type: ignore[operator]
            and (below is None or value < below)  # type: ignore[operator]
        )
        if inside:
            return
    bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
    told = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    expected = " ".join(filter(None, ("a whole number" if whole else "a number", told)))
    given = "null" if value is None else shown(value)
    raise ConfigError(f"{key}={given}: expected {expected}{', or null' if null else ''}")


def require_pair(key: str, values: object) -> tuple[float, float]:
    """AdamW's two decays: exactly two numbers from 0 on, below 1.

    Raises:
        ConfigError: naming the key.
    """
    pair = [] if isinstance(values, str) or not hasattr(values, "__iter__") else list(values)
    fine = all(isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v < 1 for v in pair)
    if len(pair) != 2 or not fine:
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
    """Refuse what could not end in reasonable time, even on a fast machine.

    Args:
        key, value: what asks for it.
        count: how many ``what`` (plural) it asks for.
        each: seconds that one takes at the very least.
        limit: seconds that are still accepted.

    Raises:
        ConfigError: with the estimate.
    """
    if count * each > limit:
        raise ConfigError(
            f"{key}={shown(value)}: {count:,.3g} {what} take about {duration(count * each)} even at "
            f"{each * 1000:g} ms each; give a smaller number"
        )


def require_memory(key: str, value: object, needed: float, what: str, available: float | None = None) -> None:
    """Refuse what needs more bytes than this machine has memory.

    Raises:
        ConfigError: with both numbers.
    """
    there = memory() if available is None else available
    if there is not None and needed > there:
        raise ConfigError(
            f"{key}={shown(value)}: {what} would need {needed / 1e9:,.3g} GB of memory, this machine has "
            f"{there / 1e9:,.3g} GB; give a smaller number"
        )


def memory() -> float | None:
    """Bytes of this machine's memory; None where the system does not tell."""
    import os

    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None


def duration(seconds: float) -> str:
    """A length of time in words, one number: ``3 years``, ``5 days``, ``20 minutes``."""
    for unit, size in (("year", YEAR), ("day", DAY), ("hour", 3600.0), ("minute", MINUTE)):
        if seconds >= size:
            number = f"{seconds / size:,.0f}" if seconds < 1e6 * size else f"{seconds / size:.1g}"
            return f"{number} {unit}{'' if number == '1' else 's'}"
    return f"{seconds:.0f} seconds"
