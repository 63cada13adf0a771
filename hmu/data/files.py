"""The files of one clip, as they come from others: what is wrong with one is said in a few words, and never stops all.

A kind of trouble is a short text ("no motion file"), so that thousands of files can be counted by kind.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hmu.checkpoints.arrays import load_array
from hmu.documents import decode, read_bytes
from hmu.errors import DataError

LARGEST = 1e5  #: metres, millimetres, radians, newtons: beyond it nothing that a body does


def composed(text: str) -> str:
    """``text`` with every accent in one character with its letter (NFC); a Mac writes them in two."""
    return unicodedata.normalize("NFC", text)


def clip_id(line: str) -> str:
    """An id as it is compared everywhere, from a line of a list."""
    return composed(line.strip())


def id_problem(clip: str) -> str | None:
    """Why an id names no file inside a data set's folders; None if it may."""
    parts = clip.split("/")
    control = any(unicodedata.category(sign) == "Cc" for sign in clip)  # NUL ends a file name
    if control or "\\" in clip or any(part in ("", ".", "..") for part in parts):
        return "id that is no file name"
    return None


def existing(path: Path) -> Path:
    """``path``, or the file beside it whose name differs in how accents are composed only (files from a Mac)."""
    if path.name.isascii() or os.path.exists(path):
        return path
    spelled = (path.with_name(unicodedata.normalize(form, path.name)) for form in ("NFC", "NFD"))
    return next((other for other in spelled if os.path.exists(other)), path)


def read_motion(path: Path, features: int) -> NDArray[np.float32] | str:
    """The motion as float32 ``(frames, features)``, or what is wrong with the file."""
    try:
        motion = load_array(path)
    except (FileNotFoundError, DataError):
        return "unreadable motion file" if os.path.exists(path) else "no motion file"
    if motion.ndim != 2 or motion.shape[1] != features:
        return f"motion not of shape (frames, {features})"
    if motion.dtype.kind not in "fiu":
        return "motion not numeric"
    if len(motion) == 0:
        return "motion without frames"
    if not np.isfinite(motion).all():
        return "motion holds NaN or infinity"
    if max(abs(float(motion.min())), abs(float(motion.max()))) > LARGEST:
        return f"motion beyond ±{LARGEST:,.0f}"
    return np.ascontiguousarray(motion, dtype=np.float32)


def read_text(path: Path) -> bytes | str:
    """The caption file as UTF-8 bytes without a byte-order mark, or what is wrong with it."""
    try:
        content = read_bytes(path)
    except DataError:
        return "unreadable caption file" if os.path.exists(path) else "no caption file"
    try:
        return decode(content, path).encode()
    except DataError:
        return "caption file not in UTF-8"


def read_clip(clip: str, motion: Path, text: Path, features: int) -> tuple[NDArray[np.float32], bytes] | list[str]:
    """Motion ``(frames, features)`` and captions of a clip, or everything that is wrong with it."""
    if problem := id_problem(clip):
        return [problem]
    frames, lines = read_motion(existing(motion), features), read_text(existing(text))
    if isinstance(frames, str) or isinstance(lines, str):
        return [reason for reason in (frames, lines) if isinstance(reason, str)]
    return frames, lines
