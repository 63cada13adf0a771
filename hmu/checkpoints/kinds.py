"""What a setting in somebody's file may be: a type and a range, checked in one place and said in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hmu.errors import ConfigError, HmuError, shown


class Kind(Protocol):
    """A type with a range."""

    @property
    def words(self) -> str:
        """What is expected, to follow "expected" in a message."""
        ...

    def read(self, value: Any) -> Any:
        """``value`` in its own type. Raises ``ValueError`` for one that does not fit."""
        ...


@dataclass(frozen=True)
class Whole:
    """A whole number from ``least`` to ``most``; ``6.0`` is one, ``True`` and ``"6"`` are not."""

    least: int
    most: int

    @property
    def words(self) -> str:
        """What is expected."""
        return f"a whole number from {self.least} to {self.most}"

    def read(self, value: Any) -> int:
        """The value as ``int``. Raises ``ValueError`` for anything else."""
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not plain or not self.least <= value <= self.most or value != math.floor(value):
            raise ValueError(self.words)
        return int(value)


@dataclass(frozen=True)
class Real:
    """A number from ``least`` to ``most``, the ends included unless ``inside``; never nan or infinity."""

    least: float
    most: float
    inside: bool = False

    @property
    def words(self) -> str:
        """What is expected."""
        first, second = ("between", "and") if self.inside else ("from", "to")
        return f"a number {first} {self.least:g} {second} {self.most:g}"

    def read(self, value: Any) -> float:
        """The value as ``float``. Raises ``ValueError`` for anything else."""
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not plain or not self.least <= value <= self.most or (self.inside and value in (self.least, self.most)):
            raise ValueError(self.words)
        return float(value)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    names: tuple[str, ...]

    @property
    def words(self) -> str:
        """What is expected."""
        return f"one of {', '.join(self.names)}"

    def read(self, value: Any) -> str:
        """The word. Raises ``ValueError`` for anything else."""
        if not isinstance(value, str) or value not in self.names:
            raise ValueError(self.words)
        return value


@dataclass(frozen=True)
class Flag:
    """True or False."""

    words: str = "True or False"

    def read(self, value: Any) -> bool:
        """The value. Raises ``ValueError`` for anything else."""
        if not isinstance(value, bool):
            raise ValueError(self.words)
        return value


@dataclass(frozen=True)
class Text:
    """A line of at most ``most`` characters, without unprintable ones; a number is read as its digits."""

    most: int = 200

    @property
    def words(self) -> str:
        """What is expected."""
        return f"a text of at most {self.most} characters"

    def read(self, value: Any) -> str:
        """The line. Raises ``ValueError`` for anything else."""
        if isinstance(value, (bool, list, tuple, dict, set)) or value is None:
            raise ValueError(self.words)
        text = str(value)
        if len(text) > self.most or not text.isprintable():
            raise ValueError(self.words)
        return text


@dataclass(frozen=True)
class Folder:
    """The name of a folder beside the file; it leads nowhere else."""

    words: str = "the name of a folder beside this one"

    def read(self, value: Any) -> str:
        """The name. Raises ``ValueError`` for anything else."""
        try:
            text = Text().read(value)
        except ValueError as error:
            raise ValueError(self.words) from error
        if text in ("", ".", "..") or "/" in text or "\\" in text:
            raise ValueError(self.words)
        return text


@dataclass(frozen=True)
class Table:
    """Values by name."""

    words: str = "a mapping"

    def read(self, value: Any) -> Mapping[str, Any]:
        """The mapping. Raises ``ValueError`` for anything else."""
        if not isinstance(value, Mapping):
            raise ValueError(self.words)
        return value


@dataclass(frozen=True)
class Chains:
    """Lists of joints: ``[[0, 2, 5], [0, 1, 4]]``."""

    words: str = "lists of joint numbers, like [[0, 2, 5], [0, 1, 4]]"

    def read(self, value: Any) -> list[list[int]]:
        """The lists. Raises ``ValueError`` for anything else."""
        if not isinstance(value, (list, tuple)) or not value or len(value) > 100:
            raise ValueError(self.words)
        if not all(isinstance(chain, (list, tuple)) and 0 < len(chain) <= 100 for chain in value):
            raise ValueError(self.words)
        try:
            return [[Whole(0, 999).read(joint) for joint in chain] for chain in value]
        except ValueError as error:
            raise ValueError(self.words) from error


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
