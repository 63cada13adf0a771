"""What a setting in somebody's file may be: a type and a range, checked in one place and said in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hmu.errors import ConfigError, HmuError, shown


@dataclass(frozen=True)
class Kind:
    """A type with a range.

    Attributes:
        words: what is expected, to follow "expected" in a message.
        fits: whether a value does. typed: a value that does, in its own type; None = as it is.
    """

    words: str
    fits: Callable[[Any], bool]
    typed: Callable[[Any], Any] | None = None

    def read(self, value: Any) -> Any:
        """``value`` in its own type. Raises ``ValueError`` for one that does not fit."""
        if not self.fits(value):
            raise ValueError(self.words)
        return value if self.typed is None else self.typed(value)


def whole(least: int, most: int) -> Kind:
    """A whole number from ``least`` to ``most``; ``6.0`` is one, ``True`` and ``"6"`` are not."""
    number = real(least, most)
    words = f"a whole number from {least} to {most}"
    return Kind(words, lambda value: number.fits(value) and value == math.floor(value), int)


def real(least: float, most: float, inside: bool = False) -> Kind:
    """A number from ``least`` to ``most``, the ends included unless ``inside``; never nan or infinity."""
    first, second = ("between", "and") if inside else ("from", "to")

    def fits(value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
        return number and not (inside and value in (least, most))

    return Kind(f"a number {first} {least:g} {second} {most:g}", fits, float)


def choice(names: Sequence[str]) -> Kind:
    """One of some words."""
    return Kind(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def line(most: int = 200) -> Kind:
    """A line of at most ``most`` characters, without unprintable ones; a number is read as its digits."""

    def fits(value: Any) -> bool:
        plain = value is not None and not isinstance(value, (bool, list, tuple, dict, set))
        return plain and len(str(value)) <= most and str(value).isprintable()

    return Kind(f"a text of at most {most} characters", fits, str)


def _names_folder(value: Any) -> bool:
    return line().fits(value) and str(value) not in ("", ".", "..") and not {"/", "\\"} & set(str(value))


def _lists_joints(value: Any) -> bool:
    def filled(node: Any) -> bool:
        return isinstance(node, (list, tuple)) and 0 < len(node) <= 100

    return filled(value) and all(filled(chain) and all(map(whole(0, 999).fits, chain)) for chain in value)


FLAG = Kind("True or False", lambda value: isinstance(value, bool))
TABLE = Kind("a mapping", lambda value: isinstance(value, Mapping))
#: leads nowhere but to the folder beside the file
FOLDER = Kind("the name of a folder beside this one", _names_folder, str)
CHAINS = Kind(
    "lists of joint numbers, like [[0, 2, 5], [0, 1, 4]]",
    _lists_joints,
    lambda value: [[int(joint) for joint in chain] for chain in value],
)


def check_values(
    values: Mapping[str, Any], section: str, kinds: Mapping[str, Kind], error: type[HmuError] = ConfigError
) -> dict[str, Any]:
    """The values of ``kinds``, each in its own type; keys that are not there are left out.

    Raises:
        error: naming ``section`` and key, the value and what was expected.
    """
    fitting: dict[str, Any] = {}
    for key, kind in kinds.items():
        if key not in values:
            continue
        try:
            fitting[key] = kind.read(values[key])
        except ValueError as problem:
            raise error(f"{section}{key}={shown(values[key])}: expected {kind.words}") from problem
    return fitting
