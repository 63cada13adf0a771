"""The plane of forgotten (to the right) against kept (upwards): where everything stands; ``plane.svg`` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEFT, TOP = 50.0, 26.0  # beside and above the plane, in its own units
LETTER, LINE = 6.7, 13.0  # width of a letter and height of a line of names
BESIDE = (0, *(line for k in range(2, 10) for line in (k, 1 - k)))  # lines that a name tries, from above its mark
HUES = (6, 212, 150, 272, 36, 186, 330, 96)  # of kinds, which differ by shape too
SHAPES = {
    "circle": (),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "triangle": ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
}


@dataclass(frozen=True)
class Symbol:
    """The sign of the ``number``-th kind: a hue, and the corners of a shape around 0, ``x,y x,y …`` (none: a disc)."""

    hue: int
    corners: str

    @classmethod
    def of(cls, number: int) -> Symbol:
        """Hues and shapes are used in turn."""
        corners = list(SHAPES.values())[number % len(SHAPES)]
        return cls(HUES[number % len(HUES)], " ".join(f"{5.5 * x:.1f},{5.5 * y:.1f}" for x, y in corners))


@dataclass(frozen=True)
class Mark:
    """A point.

    Attributes:
        name, look: what it is called, empty = no name beside it; classes of the style sheet.
        x, y: forgotten and kept; x_range, y_range: their intervals.
        symbol: of its kind; None = the ring or dot of a model.
        tip: shown where the pointer rests; ringed: whether it is set off.
        echoes: by name, further places at the same height.
    """

    name: str
    look: str
    x: float
    y: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    symbol: Symbol | None = None
    tip: str = ""
    ringed: bool = False
    echoes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high``, with a line of the grid at each of ``ticks``."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def below(cls, values: Sequence[float]) -> Axis:
        """Up to 1, from the tenth below the smallest value, at most 0.9."""
        low = max(0.0, min(0.9, int((min(values) - 0.02) * 10) / 10))
        return cls(low, 1.0, tuple(low + (1 - low) * step / 5 for step in range(6)))


WHOLE = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))
WHOLE_AND_MORE = Axis(0.0, 1.15, WHOLE.ticks)


@dataclass(frozen=True)
class Name:
    """A word in the plane; ``anchor``: ``start``, ``middle`` or ``end`` of it stands at ``x``."""

    text: str
    look: str
    x: float
    y: float
    anchor: str

    def covers(self, other: Name) -> bool:
        """Whether the two overlap."""
        (a, b), (c, d) = self._span, other._span
        return a < d and c < b and abs(self.y - other.y) < LINE

    @property
    def _span(self) -> tuple[float, float]:
        width = LETTER * len(self.text)
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return left, left + width


@dataclass(frozen=True)
class Plane:
    """Everything in the units of the drawing.

    Args:
        marks: later ones are drawn over earlier ones.
        x_axis, y_axis, wide, high: of the plane. front: marks that a line joins. words: for who does not see it.
        target: whether the corner of "all forgotten, all kept" is marked.
    """

    marks: Sequence[Mark]
    x_axis: Axis
    y_axis: Axis
    wide: float
    high: float
    words: str
    front: Sequence[Mark] = ()
    target: bool = False
    left, top = LEFT, TOP

    @property
    def right(self) -> float:
        """Edge of the plane."""
        return LEFT + self.wide

    @property
    def bottom(self) -> float:
        """Edge of the plane."""
        return TOP + self.high

    def x(self, value: float) -> float:
        """Where a value stands, at most at the edge."""
        return round(LEFT + self.wide * _share(self.x_axis, value), 1)

    def y(self, value: float) -> float:
        """Where a value stands, at most at the edge."""
        return round(TOP + self.high * (1 - _share(self.y_axis, value)), 1)

    @property
    def names(self) -> list[Name]:
        """Names beside their marks and below their echoes, moved up or down where they would cover names or marks."""
        marks = [Name("oo", "", self.x(mark.x), self.y(mark.y) + 4, "middle") for mark in self.marks]
        names = list(marks)
        for mark in self.marks:
            for name, value in sorted(mark.echoes, key=lambda echo: echo[1]):
                below = Name(name, "tick", self.x(value), 0.0, "end" if value > 0.6 else "middle")
                self._place(names, below, self.y(mark.y) + 18, (0, 1, 2, 3))
        for mark in (mark for mark in self.marks if mark.name):
            x = self.x(mark.x)
            side, away = ("end", -10) if x > LEFT + self.wide / 2 else ("start", 10)
            self._place(names, Name(mark.name, f"name {mark.look}", x + away, 0.0, side), self.y(mark.y) - 10)
        return names[len(marks) :]

    def _place(self, names: list[Name], name: Name, y: float, lines: Sequence[int] = BESIDE) -> None:
        """Add a name in the first free one of some lines below ``y`` (above it where they are negative)."""
        tried = [Name(name.text, name.look, name.x, y + LINE * line, name.anchor) for line in lines]
        inside = [place for place in tried if TOP - 14 < place.y < self.bottom] or tried
        free = (place for place in inside if not any(place.covers(other) for other in names))
        names.append(next(free, inside[0]))


def _share(axis: Axis, value: float) -> float:
    return min(1.0, max(0.0, (value - axis.low) / (axis.high - axis.low)))
