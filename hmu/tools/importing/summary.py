"""What an import did, for a person and for ``import.json``."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 20


@dataclass
class Summary:
    """What an import did.

    Attributes:
        clips: clip ids written, by the id of the file they come from.
        lengths: frames of every clip written.
        read: those of them that a data set with the usual limits reads.
        limits: shortest and longest clip that is read, frames.
        skipped: files left out, with the reason.
        notes: what a person should know, with the files concerned.
        captions: entries of the captions that fit no file, with the reason.
    """

    clips: dict[str, list[str]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    limits: tuple[int, int] = (0, 0)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    captions: dict[str, str] = field(default_factory=dict)

    @property
    def written(self) -> list[str]:
        """All clip ids."""
        return list(self.lengths)

    @property
    def frames(self) -> int:
        """Frames of all clips."""
        return sum(self.lengths.values())

    def lines(self, *, cut: bool = True) -> list[str]:
        """For a person; ``cut``: long takes have been cut, which need not be explained."""
        low, high = self.limits
        short = sum(frames < low for frames in self.lengths.values())
        long = sum(frames > high for frames in self.lengths.values())
        other = len(self.lengths) - len(self.read) - short - long
        unread = [f"{short} too short"] * bool(short)
        unread += [f"{long} too long" + ("" if cut else " (windows=sliding cuts them)")] * bool(long)
        unread += [f"{other} with captions for too short or too long a part only"] * (other > 0)
        counts = f"{_n(len(self.lengths), 'clip')} from {_n(len(self.clips), 'file')}, {self.frames} frames, of which "
        counts += f"{len(self.read)} will be read ({low} to {high} frames)"
        parts = [counts, ", ".join(unread), f"{_n(len(self.skipped), 'file')} left out"]
        lines = ["; ".join(part for part in parts if part)]
        windows = [take for take, clips in self.clips.items() if clips != [take]]
        if windows:
            count = sum(len(self.clips[take]) for take in windows)
            lines.append(f"  {_n(len(windows), 'long take')} cut into {_n(count, 'clip')} (windows=none: uncut)")
        lines += [f"  {_count(names)}: {note}" for note, names in self.notes.items()]
        lines += _some("  caption for", "fitting no file", self.captions)
        return lines + _some("  skipped", "left out", self.skipped)

    def record(self) -> dict[str, Any]:
        """For ``import.json``."""
        return {
            "clips": len(self.lengths),
            "frames": self.frames,
            "clips_read": len(self.read),
            "unread": {name: frames for name, frames in self.lengths.items() if name not in self.read},
            "windows": {take: clips for take, clips in self.clips.items() if clips != [take]},
            "notes": dict(self.notes),
            "captions_without_file": self.captions,
            "skipped": self.skipped,
        }


def _n(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _count(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} files ({names[0]}, …)"


def _some(label: str, what: str, reasons: dict[str, str]) -> list[str]:
    shown = [f"{label} {name}: {reason}" for name, reason in list(reasons.items())[:_SHOWN]]
    return shown + [f"  … and {len(reasons) - _SHOWN} more {what}, see import.json"] * (len(reasons) > _SHOWN)
