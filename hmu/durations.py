"""How long work takes: seconds in words, and seconds per unit remembered from earlier runs on this machine."""

from __future__ import annotations

import math
from pathlib import Path

from hmu.documents import read_json, write_json
from hmu.errors import HmuError

FILE = "seconds.json"  #: in ``paths.cache``; safe to delete
DAY, YEAR = 86_400.0, 31_557_600.0
MOST = 1000  # entries; the oldest go first


def about(seconds: float) -> str:
    """A length of time as one would guess it: ``a few seconds``, ``about 40 seconds``, ``about 2 years``."""
    if seconds < 8:
        return "a few seconds"
    if seconds < 55:
        return f"about {round(seconds / 5) * 5} seconds"
    if seconds < 55 * 60:
        minutes = max(1, round(seconds / 60))
        return f"about {minutes} minute{'s' * (minutes > 1)}"
    hours = max(1.0, round(seconds / 1800) / 2)
    if hours < 48:
        return f"about {hours:g} hour{'s' * (hours > 1)}"
    if seconds < 2 * YEAR:
        return f"about {round(hours / 24)} days"
    return f"about {seconds / YEAR:,.0f} years" if seconds < 1e6 * YEAR else f"about {seconds / YEAR:.1g} years"


def exact(seconds: float) -> str:
    """A length of time that was measured: ``0.4 s``, ``17 s``, ``2 min 51 s``, ``3 h 2 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clock(seconds: float) -> str:
    """A length of time for a bar: ``0:07``, ``12:40``, ``1:02:03``."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


class Seconds:
    """Seconds per unit of work by what they depend on, kept in ``<folder>/seconds.json``.

    A file that cannot be read or written is as good as none: these numbers only tell how long something may take.
    Without a folder nothing is remembered beyond this process.
    """

    def __init__(self, folder: Path | None) -> None:
        self.path = None if folder is None else folder / FILE
        try:
            content = read_json(self.path) if self.path is not None else {}
        except HmuError:
            content = {}
        entries = content.items() if isinstance(content, dict) else ()
        self.known = {str(key): float(value) for key, value in entries if _possible(value)}

    def get(self, key: str) -> float | None:
        """Seconds per unit; None where nothing was measured yet."""
        return self.known.get(key)

    def put(self, key: str, seconds: float) -> None:
        """Remember a measurement; half of what was known before stays, so that one busy hour does not decide."""
        if not _possible(seconds):
            return
        before = self.known.pop(key, seconds)
        self.known[key] = float(f"{(before + seconds) / 2:.4g}")
        self.known = dict(list(self.known.items())[-MOST:])
        try:
            if self.path is not None:
                write_json(self.path, self.known)
        except HmuError:
            self.path = None


def _possible(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
