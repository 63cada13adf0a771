"""What a number is: where it should go, what it cannot be, what people call it, where it counts. Metrics declare it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hmu.errors import ConfigError

#: where a number should go: down, up, nowhere (as the base), or towards a model that never saw the concept
BETTER = ("lower", "higher", "same", "reference")
#: what a number cannot be: a share is in 0 … 1 and read in percent, a size is never below 0, a ratio is a size beside
#: the base's, an unbiased estimate varies around 0 (so it has no relative change), and any other may be every number
KINDS = ("share", "size", "ratio", "unbiased", "number")
PARTS = 8  # of a name; one with more was made up
SIDES = ("forget", "keep")


@dataclass(frozen=True)
class Value:
    """A number that a metric yields, or a family of them.

    Attributes:
        name: as in ``metrics.json``; each ``*`` stands for any text without ``/``, ``@``, ``[`` (``r_precision_*``).
            ``detector_rate [*]`` are the rows of ``detector_rate`` that have a label.
        title: what people read; ``{}`` is filled with what the ``*`` stood for. Empty: the name in words.
        better: one of :data:`BETTER`, on a set that should be kept.
        forget: the same on a set that asks for the concept.
        kind: one of :data:`KINDS`; decides clipping, percent, and Wilson's interval.
        scores: where it counts on the scoreboard, of :data:`SIDES`.
        headline: of which sides it stands in short tables, where only a few numbers have room.
        ratio_to_base: whether ``<name>_ratio``, the quotient to the base's, is reported beside it.
    """

    name: str
    title: str = ""
    better: str = "reference"
    forget: str = "reference"
    kind: str = "number"
    scores: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    ratio_to_base: bool = False

    def __post_init__(self) -> None:
        choices = (("better", [self.better], BETTER), ("forget", [self.forget], BETTER), ("kind", [self.kind], KINDS))
        for key, given, known in (*choices, ("scores", self.scores, SIDES), ("headline", self.headline, SIDES)):
            if unknown := [entry for entry in given if entry not in known]:
                raise ConfigError(f"value '{self.name}': {key} is '{unknown[0]}'; expected {', '.join(known)}")

    def resolved(self, name: str) -> Value | None:
        """The declaration of exactly ``name``, with its title in words; None where ``name`` is not of this family."""
        match = re.fullmatch(r"([^/@\[\]]+)".join(map(re.escape, self.name.split("*"))), name)
        if match is None:
            return None
        stars = [str(int(text)) if text.isdigit() else _words(text) for text in match.groups()]
        title = self.title.format(*stars) if self.title else _words(name)
        return replace(self, name=name, title=title[:1].upper() + title[1:])

    def ratio(self) -> Value:
        """The declaration of the quotient to the base's value: 1 is as the base."""
        return Value(f"{self.name}_ratio", f"{self.title or self.name} ratio", "same", kind="ratio")


def resolve(values: Iterable[Value], name: str, label: str | None = None) -> Value | None:
    """The first declaration that covers ``name``, or ``name`` with a label; None where there is none.

    What is not declared as such is a part of what is, and then counts nowhere: ``speed [run]`` or ``speed/run`` of
    ``speed``, ``fid@tmr`` (by a further evaluator) of ``fid``.
    """
    if len(re.findall(r"[/@]", name)) > PARTS:
        return None
    known = list(values)
    known += [value.ratio() for value in known if value.ratio_to_base]
    if label is not None:
        if (value := _first(known, f"{name} [{label}]")) is not None:
            return replace(value, name=name)
        value = resolve(known, name)
        return None if value is None else _part(value, name, f"{value.title}, {_words(label)}")
    if (value := _first(known, name)) is not None:
        return value
    plain, sign, part = name.rpartition("@" if name.rfind("@") > name.rfind("/") else "/")
    value = resolve(known, plain, part if sign == "/" else None) if sign else None
    if value is None:
        return None
    return by_evaluator(value, part) if sign == "@" else _part(value, name, value.title)


def by_evaluator(value: Value, evaluator: str) -> Value:
    """The same number in the space of a further evaluator; only the first one's counts and heads tables."""
    return _part(value, f"{value.name}@{evaluator}", f"{value.title} ({evaluator})")


def _first(values: Iterable[Value], name: str) -> Value | None:
    return next(filter(None, (value.resolved(name) for value in values)), None)


def _part(value: Value, name: str, title: str) -> Value:
    return replace(value, name=name, title=title, scores=(), headline=())


def _words(name: str) -> str:
    return name.replace("_", " ")
