"""What to generate: prompts with their lengths, from the command line, a file, or a split."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hmu.documents import decode, read_text
from hmu.errors import ConfigError, DataError, shown

if TYPE_CHECKING:
    from hmu.data.dataset import DatasetSource

log = logging.getLogger(__name__)

ASKED = ("prompt", "prompts", "split")  #: keys that say what is asked
DEFAULT_SECONDS = 6.0
_LENGTH = re.compile(r"\s*(?:(\d{1,9})|(\d{1,9}(?:\.\d{1,30})?)\s*s)\s*", re.ASCII)


@dataclass(frozen=True)
class Item:
    """One prompt to generate: its name (clip id, or number), and the frames asked for (not yet checked), if any."""

    name: str
    prompt: str
    frames: int | None = None


@dataclass(frozen=True)
class Job:
    """One motion to make: which prompt, which repeat, how long."""

    item: Item
    number: int
    repeat: int
    frames: int

    @property
    def stem(self) -> str:
        """File name without ending: unique, readable, valid on every system."""
        words = re.sub(r"[^a-z0-9]+", "-", self.item.prompt.lower())[:40].strip("-") or "unconditional"
        return f"{self.number:04d}-{words}-r{self.repeat}"


@dataclass(frozen=True)
class Limits:
    """What lengths a backbone can generate."""

    fps: float
    unit: int
    shortest: int
    longest: int

    def __str__(self) -> str:
        low, high = self.shortest / self.fps, self.longest / self.fps
        return f"multiples of {self.unit} from {self.shortest} to {self.longest} frames ({low:.1f} to {high:.1f} s)"

    def fit(self, frames: int, where: str) -> int:
        """The nearest length that can be generated. Raises :class:`ConfigError` outside the limits."""
        if not self.shortest <= frames <= self.longest:
            raise ConfigError(
                f"{where}: {frames} frames ({frames / self.fps:.1f} s) cannot be generated, lengths are {self}"
            )
        lowest, highest = -(-self.shortest // self.unit), self.longest // self.unit
        return self.unit * min(max(round(frames / self.unit), lowest), highest)


def from_texts(texts: str | Iterable[str], fps: float) -> list[Item]:
    """Prompts given on the command line, taken literally; ``@prompts.txt`` alone stands for the file's."""
    if texts == "@":
        raise ConfigError("prompt=@: expected the name of a text file after the @")
    if isinstance(texts, str) and texts.startswith("@"):
        return from_file(texts[1:], fps)
    items = [
        Item(f"{number:04d}", str(text)) for number, text in enumerate([texts] if isinstance(texts, str) else texts)
    ]
    for item in items:
        if not item.prompt.isprintable() and any("\ud800" <= c <= "\udfff" for c in item.prompt):
            raise ConfigError(f"prompt={shown(item.prompt)}: holds bytes that are not UTF-8; set the terminal to UTF-8")
    return items


def from_file(name: str, fps: float) -> list[Item]:
    """Prompts of a text file, one a line; ``-`` reads them from standard input. Blank lines are skipped.

    ``prompt#120`` asks for 120 frames, ``prompt#4.5s`` for seconds; DataError names the line where it is neither.
    """
    path = Path(name).expanduser()
    text = decode(sys.stdin.buffer.read(), "prompts=-") if name == "-" else read_text(path)
    items: list[Item] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        prompt, mark, length = line.rpartition("#")
        frames = None
        if mark:
            match = _LENGTH.fullmatch(length)
            if match is None:
                raise DataError(
                    f"prompts={name}, line {number}: '#{shown(length)}' is no length; "
                    "write prompt#120 (frames) or prompt#4.5s"
                )
            frames = int(match[1]) if match[1] else round(float(match[2]) * fps)
        items.append(Item(f"{len(items):04d}", (prompt if mark else line).strip(), frames))
    if not items:
        raise DataError(f"prompts={name}: holds no prompt, expected one a line")
    return items


def from_split(source: DatasetSource, split: str, limits: Limits) -> list[Item]:
    """First caption of every entry of a split, with the entry's own length cut to what can be generated."""
    clips = source.clips(split)
    items = []
    for number, name in enumerate(clips.ids):
        frames = min(max(int(clips.lengths[number]), limits.shortest), limits.longest)
        items.append(Item(name, clips.caption(number, 0).text, frames))
    return items


def asked_frames(length: int | None, seconds: float | None, fps: float) -> int | None:
    """``length=`` or ``seconds=`` as frames. Raises :class:`ConfigError` when both are given."""
    if length is not None and seconds is not None:
        raise ConfigError(f"length={length} and seconds={seconds}: give only one of them")
    return length if seconds is None else round(seconds * fps)


def fit_lengths(items: Sequence[Item], default: int | None, limits: Limits, own_wins: bool = True) -> list[int]:
    """A length for each item: its own, else ``default``, else 6 seconds; fitted, saying what was rounded.

    ``own_wins=False`` lets ``default`` (if given) win over the items' own lengths, as for a split.
    """
    fallback = default if default is not None else round(DEFAULT_SECONDS * limits.fps)
    lengths, rounded = [], []
    for item in items:
        own = item.frames is not None and (own_wins or default is None)
        frames = item.frames if own and item.frames is not None else fallback
        fitted = limits.fit(frames, f"prompt {item.name} ({item.prompt[:40]!r})" if own else "length")
        if fitted != frames:
            rounded.append(f"{item.name}: {frames} to {fitted}")
        lengths.append(fitted)
    if rounded:
        more = f" and {len(rounded) - 5} more" if len(rounded) > 5 else ""
        log.info("frames rounded to multiples of %d: %s%s", limits.unit, ", ".join(rounded[:5]), more)
    return lengths
