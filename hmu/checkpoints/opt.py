"""The authors' ``opt.txt``: one ``key: value`` per line between two banner lines.

Read as the writer meant it: ``1e-06`` is a number, ``[1, 2]`` a list, ``None`` nothing. The authors' own reader
(MoMask, HMU) leaves ``1e-06`` as text and overwrites many keys: ``tests/parity/upstream_opt.py``.
"""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path
from typing import Any

from hmu.documents import read_text
from hmu.errors import CheckpointError, shown

log = logging.getLogger(__name__)
LARGEST = 1 << 20  # bytes; the authors' files have 2,000
LONGEST = 10_000  # characters of a list: a longer one stays text
HEADER = "------------ Options -------------"
FOOTER = "-------------- End ----------------"

_FLOAT = re.compile(r"[-+]?((\d+\.\d*|\.\d+)([eE][-+]?\d+)?|\d+[eE][-+]?\d+)", re.ASCII)
_INT = re.compile(r"[-+]?\d{1,400}", re.ASCII)  # Python reads no longer ones
_WORDS = {"True": True, "False": False, "None": None}
_SPECIAL_FLOATS = {"nan", "inf", "+inf", "-inf"}


def parse_value(text: str) -> Any:
    """One value of an ``opt.txt``."""
    stripped = text.strip()
    if stripped in _WORDS:
        return _WORDS[stripped]
    if _INT.fullmatch(stripped):
        return int(stripped)
    if _FLOAT.fullmatch(stripped) or stripped in _SPECIAL_FLOATS:
        return float(stripped)
    return _literal(stripped) if stripped[:1] in ("[", "(", "{") and len(stripped) <= LONGEST else stripped


def _literal(text: str) -> Any:
    """A list, tuple or mapping of plain values; anything else stays text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # TypeError: a list as a key
        return text


def read_opt(path: Path | str) -> dict[str, Any]:
    """What an ``opt.txt`` says, each value in its type.

    Raises:
        CheckpointError: one line, with the line number, for a missing file or a line that is not ``key: value``.
    """
    path = Path(path)
    options: dict[str, Any] = {}
    for number, line in enumerate(opt_lines(path), start=1):
        if line.strip() in (HEADER, FOOTER, ""):
            continue
        key, colon, value = line.partition(":")
        if not colon or not key.strip() or value[:1] not in ("", " ", "\t"):
            raise CheckpointError(f"{path}, line {number}: expected 'key: value', found '{shown(line)}'")
        key, fresh = key.strip(), parse_value(value)
        if options.get(key, fresh) != fresh:
            log.warning("%s, line %d: '%s' is there again; the last value counts", path, number, shown(key))
        options[key] = fresh
    return options


def opt_lines(path: Path) -> list[str]:
    """Its lines, whatever they end with.

    Raises:
        CheckpointError: there is no such file, or it is none of text.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file, expected the opt.txt beside the authors' checkpoint")
    return read_text(path, CheckpointError, LARGEST).replace("\r\n", "\n").replace("\r", "\n").split("\n")
