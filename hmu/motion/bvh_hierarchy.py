"""The HIERARCHY section of a BVH file: joints, parents, offsets and channels, read line by line."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError, shown

Array = NDArray[np.float64]
_CHANNELS = {f"{axis}{kind}" for axis in "xyz" for kind in ("position", "rotation")}
_MOST_JOINTS = 2000  # skeletons with faces and fingers have some 200
_LONGEST_NUMBER = 64  # characters
_LARGEST = 1e9  # degrees or file units: a thousand kilometres in millimetres


class Hierarchy:
    """Collects the HIERARCHY section line by line; no recursion, so that depth costs nothing."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.known: set[str] = set()
        self.parents: list[int] = []
        self.offsets: list[list[float]] = []
        self.channels: list[tuple[str, ...]] = []
        self.stack: list[int | None] = []  # None is an End Site
        self.opening: int | None = None
        self.expects_brace = False

    def line(self, line: str) -> None:
        """Take in the next line, stripped and not empty; DataError for one that does not belong there."""
        words = line.split()
        keyword = words[0].upper()
        if self.expects_brace and keyword != "{":
            raise DataError(f"expected '{{' before '{shown(line)}'")
        if keyword in ("ROOT", "JOINT"):
            self._joint(line[len(keyword) :].strip(), root=keyword == "ROOT")
        elif keyword == "END":
            self.opening, self.expects_brace = None, True
        elif keyword == "{":
            if not self.expects_brace:
                raise DataError("'{' without a joint before it")
            self.stack.append(self.opening)
            self.expects_brace = False
        elif keyword == "}":
            if not self.stack:
                raise DataError("one '}' too many in HIERARCHY")
            self.stack.pop()
        elif keyword in ("OFFSET", "CHANNELS"):
            self._property(keyword, words[1:])
        else:
            raise DataError(f"'{shown(line)}' is not understood in HIERARCHY")

    def _joint(self, name: str, *, root: bool) -> None:
        if not name:
            raise DataError("a joint without a name")
        if name in self.known:
            raise DataError(f"joint '{shown(name)}' appears twice")
        if root != (not self.stack):
            raise DataError(f"'{shown(name)}': ROOT belongs at the top and JOINT inside another joint")
        if self.stack and self.stack[-1] is None:
            raise DataError(f"joint '{shown(name)}' inside an End Site")
        if len(self.names) == _MOST_JOINTS:
            raise DataError(f"more than {_MOST_JOINTS} joints: not the skeleton of a person")
        self.known.add(name)
        self.names.append(name)
        self.parents.append(-1 if not self.stack else int(self.stack[-1] or 0))
        self.offsets.append([0.0, 0.0, 0.0])
        self.channels.append(())
        self.opening, self.expects_brace = len(self.names) - 1, True

    def _property(self, keyword: str, words: list[str]) -> None:
        if not self.stack:
            raise DataError(f"{keyword} outside of a joint")
        joint = self.stack[-1]
        if joint is None:
            return  # an End Site's offset is no joint
        if keyword == "OFFSET":
            self.offsets[joint] = numbers(
                plain_numbers(" ".join(words)).split(), f"OFFSET of '{shown(self.names[joint])}'", 3
            ).tolist()
            return
        count = int(words[0]) if words and words[0].isdecimal() and len(words[0]) < 4 else -1
        channels = tuple(word.lower() for word in words[1:])
        if count != len(channels) or set(channels) - _CHANNELS or len(set(channels)) != count:
            raise DataError(f"bad CHANNELS of '{shown(self.names[joint])}': {shown(' '.join(words))}")
        self.channels[joint] = channels


def plain_numbers(text: str) -> str:
    """Numbers as Python reads them: decimal commas (``0,033``) become points, commas between numbers blanks."""
    if "," not in text:
        return text
    return re.sub(r",(?=\s|$)", " ", text) if "." in text else text.replace(",", ".")


def numbers(words: list[str], where: str, count: int) -> Array:
    """``count`` finite numbers of a sensible size ``(count,)``; DataError naming ``where`` otherwise."""
    if len(words) != count:
        raise DataError(f"{where}: expected {count} numbers, got {len(words)}")
    if max(map(len, words), default=0) > _LONGEST_NUMBER:  # numpy would give every word the room of the longest
        raise DataError(f"{where}: '{shown(max(words, key=len), 30)}' is not a number")
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where}: {shown(error, 120)}") from None
    if not np.isfinite(values).all():
        raise DataError(f"{where}: NaN or infinite numbers")
    if np.abs(values).max(initial=0.0) > _LARGEST:
        raise DataError(f"{where}: numbers beyond {_LARGEST:g}")
    return values
