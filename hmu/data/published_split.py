"""The published keyword split and its retrieval refinement, byte for byte, accidents included.

Measured facts, kept because published partitions carry them: caption *lines* are counted, case-sensitively and over the
whole raw line (so POS tags and times match too, and "white" holds "hit"); a missing caption file counts as no match;
an id on a last line without line end is lost; in a list with CRLF ends every id carries a carriage return, its file is
not found, and it goes to the retain side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable


def matching_lines(text: bytes | None, pattern: re.Pattern[str]) -> int:
    """How many lines of a caption file (None = there is no such file) hold a match."""
    if not text:
        return 0
    lines = text.decode("utf-8", errors="surrogateescape").split("\n")
    if lines[-1] == "":
        lines.pop()
    return sum(pattern.search(line) is not None for line in lines)


def listed_ids(listing: bytes) -> list[str]:
    """Ids of a split file as the published script sees them: terminated lines only, carriage returns kept."""
    return [line for line in listing.decode("utf-8", errors="surrogateescape").split("\n")[:-1] if line]


def keyword_split(
    listing: bytes, read_text: Callable[[str], bytes | None], pattern: re.Pattern[str], min_occurrence: int = 1
) -> tuple[list[str], list[str]]:
    """Split the ids of ``listing`` (a split file's bytes) into (forget, retain), order and repetitions kept.

    ``read_text`` gives an id's caption file, or None; ``min_occurrence`` of its lines must match.
    """
    forget: list[str] = []
    retain: list[str] = []
    for clip in listed_ids(listing):
        side = forget if matching_lines(read_text(clip), pattern) >= min_occurrence else retain
        side.append(clip)
    return forget, retain


def id_list(ids: Iterable[str]) -> bytes:
    """Content of a split file: one id a line, every line ended."""
    return "".join(f"{clip}\n" for clip in ids).encode("utf-8", errors="surrogateescape")
