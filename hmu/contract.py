"""Contracts: base classes whose abstract verbs every subclass must have, said in one line where one is missing."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any, ClassVar

from typing_extensions import Self

from hmu.errors import ConfigError


class Contract(metaclass=ABCMeta):  # noqa: B024 (its subclasses have them)
    """A base class with abstract verbs. A class that lacks one is refused when it is constructed.

    Attributes:
        noun: what a subclass is, for the message.
    """

    noun: ClassVar[str] = "class"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse a class that does not fulfil the contract.

        Raises:
            ConfigError: naming the verbs that it lacks.
        """
        missing = ", ".join(sorted(cls.__abstractmethods__))
        if missing:
            raise ConfigError(f"{cls.__module__}.{cls.__qualname__}: no complete {cls.noun}, it lacks {missing}")
        return super().__new__(cls)
