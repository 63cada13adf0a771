"""What a setting in somebody's file may be: a type and a range, checked in one place and said in words."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hmu.errors import ConfigError, HmuError, shown


class Kind(ABC):
    """A type with a range."""

    @property
    def words(self) -> str:
        """What is expected, to follow "expected" in a message."""
        return self._words()

    def read(self, value: Any) -> Any:
        """``value`` in its own type. Raises ``ValueError`` for one that does not fit."""
        if not self._fits(value):
            raise ValueError(self.words)
        return self._typed(value)

    @abstractmethod
    def _words(self) -> str: ...

    @abstractmethod
    def _fits(self, value: Any) -> bool: ...

    def _typed(self, value: Any) -> Any:
        return value


def _number(value: Any, least: float, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from ``least`` to ``most``; ``6.0`` is one, ``True`` and ``"6"`` are not."""

    least: int
    most: int

    def _words(self) -> str:
        return f"a whole number from {self.least} to {self.most}"

    def _fits(self, value: Any) -> bool:
        return _number(value, self.least, self.most) and value == math.floor(value)

    def _typed(self, value: Any) -> int:
        return int(value)


@dataclass(frozen=True)
class Real(Kind):
    """A number from ``least`` to ``most``, the ends included unless ``inside``; never nan or infinity."""

    least: float
    most: float
    inside: bool = False

    def _words(self) -> str:
        first, second = ("between", "and") if self.inside else ("from", "to")
        return f"a number {first} {self.least:g} {second} {self.most:g}"

    def _fits(self, value: Any) -> bool:
        return _number(value, self.least, self.most) and not (self.inside and value in (self.least, self.most))

    def _typed(self, value: Any) -> float:
        return float(value)


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words."""

    names: tuple[str, ...]

    def _words(self) -> str:
        return f"one of {', '.join(self.names)}"

    def _fits(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.names


class Flag(Kind):
    """True or False."""

    def _words(self) -> str:
        return "True or False"

    def _fits(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Text(Kind):
    """A line of at most ``most`` characters, without unprintable ones; a number is read as its digits."""

    most: int = 200

    def _words(self) -> str:
        return f"a text of at most {self.most} characters"

    def _fits(self, value: Any) -> bool:
        plain = value is not None and not isinstance(value, (bool, list, tuple, dict, set))
        return plain and len(str(value)) <= self.most and str(value).isprintable()

    def _typed(self, value: Any) -> str:
        return str(value)


class Folder(Text):
    """The name of a folder beside the file; it leads nowhere else."""

    def _words(self) -> str:
        return "the name of a folder beside this one"

    def _fits(self, value: Any) -> bool:
        return super()._fits(value) and str(value) not in ("", ".", "..") and not {"/", "\\"} & set(str(value))


class Table(Kind):
    """Values by name."""

    def _words(self) -> str:
        return "a mapping"

    def _fits(self, value: Any) -> bool:
        return isinstance(value, Mapping)


class Chains(Kind):
    """Lists of joints: ``[[0, 2, 5], [0, 1, 4]]``."""

    def _words(self) -> str:
        return "lists of joint numbers, like [[0, 2, 5], [0, 1, 4]]"

    def _fits(self, value: Any) -> bool:
        def some(node: Any) -> bool:
            return isinstance(node, (list, tuple)) and 0 < len(node) <= 100

        joint = Whole(0, 999)
        return some(value) and all(some(chain) and all(map(joint._fits, chain)) for chain in value)

    def _typed(self, value: Any) -> list[list[int]]:
        return [[int(joint) for joint in chain] for chain in value]


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


def check_fields(options: Any, section: str, kinds: Mapping[str, Kind]) -> None:
    """Refuse a field of a dataclass that does not fit its kind; a whole number written ``6.0`` becomes ``6``.

    Raises:
        ConfigError: naming ``section.field``, its value and what was expected.
    """
    fitting = check_values({key: getattr(options, key) for key in kinds}, f"{section}.", kinds)
    for key, kind in kinds.items():
        if isinstance(kind, Whole):
            object.__setattr__(options, key, fitting[key])  # the classes are frozen
