"""Reading BVH files as they exist, and their forward kinematics.

What is honoured, because real files need it: any channel order per joint; position channels on any joint, which
*replace* the joint's OFFSET (never add to it); moving dummy roots above the hips; truncated frame times (0.0333333
is 30 frames per second); tabs, trailing blanks, CRLF, exponents, ``-0``, a byte-order mark; End Sites,
which are no joints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError
from hmu.motion.resample import rate_from_frame_time, resample_positions, resample_rotations
from hmu.motion.rotations import euler_to_quat, quat_multiply, quat_rotate

Array = NDArray[np.float64]
_CHANNELS = {f"{axis}{kind}" for axis in "xyz" for kind in ("position", "rotation")}


@dataclass(frozen=True)
class Bvh:
    """One BVH file: ``J`` joints, ``T`` frames, all ``C`` channels.

    Attributes:
        names: joint names, parents before children.
        parents: parent of each joint, -1 for a root.
        offsets: rest offset from the parent, file units, ``(J, 3)``.
        channels: per joint, lower-case channel names in file order (``xposition`` .. ``yrotation``).
        fps: frames per second, exact.
        values: channel values as written (file units, degrees), ``(T, C)``.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Array
    channels: tuple[tuple[str, ...], ...]
    fps: Fraction
    values: Array

    @cached_property
    def first_channel(self) -> tuple[int, ...]:
        """Column of each joint's first channel."""
        counts = [len(channels) for channels in self.channels]
        return tuple(int(start) for start in np.cumsum([0, *counts[:-1]]))

    def local_positions(self) -> Array:
        """Position of each joint in its parent's frame, ``(T, J, 3)``: position channels where present, else OFFSET."""
        local = np.repeat(self.offsets[None], len(self.values), axis=0)
        for joint, (start, channels) in enumerate(zip(self.first_channel, self.channels, strict=True)):
            for column, channel in enumerate(channels, start=start):
                if channel.endswith("position"):
                    local[:, joint, "xyz".index(channel[0])] = self.values[:, column]
        return local

    def local_rotations(self) -> Array:
        """Rotation of each joint relative to its parent, ``(T, J, 4)``; joints without rotation channels: identity."""
        quats = np.zeros((len(self.values), len(self.names), 4))
        quats[..., 0] = 1.0
        groups: dict[str, tuple[list[int], list[list[int]]]] = {}
        for joint, (start, channels) in enumerate(zip(self.first_channel, self.channels, strict=True)):
            turning = [(c[0], column) for column, c in enumerate(channels, start=start) if c.endswith("rotation")]
            if turning:
                joints, columns = groups.setdefault("".join(axis for axis, _ in turning), ([], []))
                joints.append(joint)
                columns.append([column for _, column in turning])
        for order, (joints, columns) in groups.items():
            quats[:, joints] = euler_to_quat(np.deg2rad(self.values[:, np.array(columns)]), order)
        return quats

    def joints(self, fps: Fraction | float | None = None) -> Array:
        """World positions of all joints in file units, ``(frames, J, 3)``.

        Args:
            fps: rate to resample to (rotations by slerp, positions linearly, *before* the kinematics); None: as filmed.
        """
        rotations, positions = self.local_rotations(), self.local_positions()
        if fps is not None:
            rotations = resample_rotations(rotations, self.fps, fps)
            positions = resample_positions(positions, self.fps, fps)
        return forward_kinematics(rotations, positions, self.parents)


def forward_kinematics(rotations: ArrayLike, positions: ArrayLike, parents: tuple[int, ...]) -> Array:
    """World positions ``(frames, J, 3)`` of local rotations ``(frames, J, 4)`` and positions; parents come first."""
    local_turn, local = np.asarray(rotations, dtype=np.float64), np.asarray(positions, dtype=np.float64)
    turn, world = local_turn.copy(), local.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            turn[:, joint] = quat_multiply(turn[:, parent], local_turn[:, joint])
            world[:, joint] = world[:, parent] + quat_rotate(turn[:, parent], local[:, joint])
    return world


def read_bvh(path: str | Path) -> Bvh:
    """Read a BVH file.

    Raises:
        DataError: missing, unreadable or malformed file; the message names the file and what is wrong.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}") from None
    return parse_bvh(text, path.name)


def parse_bvh(text: str, name: str = "<text>") -> Bvh:
    """Parse a BVH text; ``name`` appears in error messages (see :func:`read_bvh`)."""
    try:
        head, motion = _split(text)
        builder = _Hierarchy()
        for line in head:
            builder.line(line)
        return _assemble(builder, motion)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


class _Hierarchy:
    """Collects the HIERARCHY section line by line."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[list[float]] = []
        self.channels: list[tuple[str, ...]] = []
        self.stack: list[int | None] = []  # None is an End Site
        self.opening: int | None = None
        self.expects_brace = False

    def line(self, line: str) -> None:
        words = line.split()
        keyword = words[0].upper()
        if self.expects_brace and keyword != "{":
            raise DataError(f"expected '{{' before '{line}'")
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
            raise DataError(f"'{line}' is not understood in HIERARCHY")

    def _joint(self, name: str, *, root: bool) -> None:
        if not name:
            raise DataError("a joint without a name")
        if name in self.names:
            raise DataError(f"joint '{name}' appears twice")
        if root != (not self.stack):
            raise DataError(f"'{name}': ROOT belongs at the top and JOINT inside another joint")
        if self.stack and self.stack[-1] is None:
            raise DataError(f"joint '{name}' inside an End Site")
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
            self.offsets[joint] = _numbers(words, f"OFFSET of '{self.names[joint]}'", 3).tolist()
            return
        count = int(words[0]) if words and words[0].isdigit() else -1
        channels = tuple(word.lower() for word in words[1:])
        if count != len(channels) or set(channels) - _CHANNELS or len(set(channels)) != count:
            raise DataError(f"bad CHANNELS of '{self.names[joint]}': {' '.join(words)}")
        self.channels[joint] = channels


def _split(text: str) -> tuple[list[str], Iterator[str]]:
    """Lines of the hierarchy, and an iterator over those of the motion section (blank lines dropped)."""
    head_text, keyword, motion_text = _partition_motion(text)
    if not keyword:
        raise DataError("no MOTION section: not a BVH file, or cut off")
    spaced = head_text.replace("{", "\n{\n").replace("}", "\n}\n")
    head = [line.strip() for line in spaced.splitlines() if line.strip()]
    if not head or head[0].upper() != "HIERARCHY":
        raise DataError("does not start with HIERARCHY: not a BVH file")
    return head[1:], (line for line in (raw.strip() for raw in motion_text.splitlines()) if line)


def _partition_motion(text: str) -> tuple[str, str, str]:
    position = 0
    for line in text.splitlines(keepends=True):
        if line.strip().upper() == "MOTION":
            return text[:position], "MOTION", text[position + len(line) :]
        position += len(line)
    return text, "", ""


def _assemble(builder: _Hierarchy, motion: Iterator[str]) -> Bvh:
    if builder.stack or builder.expects_brace:
        raise DataError("HIERARCHY is not closed: '}' missing")
    if not builder.names:
        raise DataError("HIERARCHY has no joints")
    frames = int(_numbers([_field(motion, "Frames:")], "Frames", 1)[0])
    if frames < 1:
        raise DataError(f"Frames: must be at least 1, got {frames}")
    fps = rate_from_frame_time(_field(motion, "Frame Time:"))
    width = sum(len(channels) for channels in builder.channels)
    words = " ".join(motion).split()
    if len(words) != frames * width:
        raise DataError(
            f"MOTION holds {len(words)} numbers, expected {frames} frames x {width} channels = {frames * width}"
            + (" (cut off?)" if len(words) < frames * width else "")
        )
    values = _numbers(words, "MOTION", frames * width).reshape(frames, width)
    return Bvh(
        names=tuple(builder.names),
        parents=tuple(builder.parents),
        offsets=np.array(builder.offsets, dtype=np.float64),
        channels=tuple(builder.channels),
        fps=fps,
        values=values,
    )


def _field(lines: Iterator[str], label: str) -> str:
    line = " ".join(next(lines, "").split())
    if not line.lower().startswith(label.lower()):
        raise DataError(f"expected '{label}' in MOTION, found '{line[:40]}'")
    return line[len(label) :].strip()


def _numbers(words: list[str], where: str, count: int) -> Array:
    if len(words) != count:
        raise DataError(f"{where}: expected {count} numbers, got {len(words)}")
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    if not np.isfinite(values).all():
        raise DataError(f"{where}: NaN or infinite numbers")
    return values
