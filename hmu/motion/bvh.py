"""Reading BVH files as they exist, and their forward kinematics.

What is honoured, because real files need it: any channel order per joint; position channels on any joint, which
*replace* the joint's OFFSET (never add to it); moving dummy roots above the hips; truncated frame times (0.0333333
is 30 frames per second); more frames than ``Frames:`` says; tabs, trailing blanks, CRLF, exponents, ``-0``, decimal
commas, a byte-order mark; End Sites, which are no joints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError, shown
from hmu.motion.bvh_hierarchy import Hierarchy, numbers, plain_numbers
from hmu.motion.resample import exact_rate, rate_from_frame_time, resample_positions, resample_rotations
from hmu.motion.rotations import euler_to_quat, quat_multiply, quat_rotate

Array = NDArray[np.float64]
_MOST_FRAMES = 10_000_000


@dataclass(frozen=True)
class Bvh:
    """One BVH file: ``J`` joints, ``T`` frames, all ``C`` channels.

    Attributes:
        parents: parent of each joint, -1 for a root; parents come before children.
        offsets: rest offset from the parent, file units, ``(J, 3)``.
        channels: per joint, lower-case channel names in file order (``xposition`` .. ``yrotation``).
        values: channel values as written (file units, degrees), ``(T, C)``.
        notes: what a person should know about the file, in words.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Array
    channels: tuple[tuple[str, ...], ...]
    fps: Fraction
    values: Array
    notes: tuple[str, ...] = ()

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

    def frames(self, start: int, stop: int | None = None) -> Bvh:
        """The same file with frames ``[start, stop)`` only."""
        return replace(self, values=self.values[start:stop])

    def rest(self) -> Array:
        """World positions of all joints when nothing is turned, from the OFFSETs alone, file units ``(J, 3)``."""
        still = np.zeros((1, len(self.names), 4))
        still[..., 0] = 1.0
        return local_to_world(still, self.offsets[None], self.parents)[1][0]

    def joints(self, fps: Fraction | float | None = None) -> Array:
        """Joints in the world in file units, ``(frames, J, 3)``, as filmed or resampled before the kinematics."""
        rotations, positions = self.local_rotations(), self.local_positions()
        if fps is not None:
            rotations = resample_rotations(rotations, self.fps, fps)
            positions = resample_positions(positions, self.fps, fps)
        return local_to_world(rotations, positions, self.parents)[1]


def local_to_world(rotations: ArrayLike, positions: ArrayLike, parents: Sequence[int]) -> tuple[Array, Array]:
    """World rotations ``(frames, J, 4)`` and positions ``(frames, J, 3)`` of local ones; parents come first."""
    turn, world = np.array(rotations, dtype=np.float64), np.array(positions, dtype=np.float64)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            turn[:, joint] = quat_multiply(turn[:, parent], turn[:, joint])
            world[:, joint] = world[:, parent] + quat_rotate(turn[:, parent], world[:, joint])
    return turn, world


def parse_bvh(content: str | bytes, name: str = "<text>", fps: Fraction | float | None = None) -> Bvh:
    """Read the content of a BVH file; ``fps`` is for files whose own ``Frame Time`` is wrong.

    Names in unknown encodings become unreadable, not the file: nothing hangs on them.

    Raises:
        DataError: it is malformed; the message names the file (``name``) and what is wrong.
    """
    if isinstance(content, bytes):
        encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        content = content.decode(encoding, errors="replace")
    try:
        head, motion = _split(content)
        hierarchy = Hierarchy()
        for line in head:
            hierarchy.line(line)
        return _assemble(hierarchy, motion, fps)
    except DataError as error:
        raise DataError(f"{shown(name)}: {error}") from None


def _split(text: str) -> tuple[list[str], Iterator[str]]:
    """Lines of the hierarchy, and an iterator over those of the motion section (blank lines dropped)."""
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    motion = next((row for row, line in enumerate(lines) if line.upper() == "MOTION"), None)
    if motion is None:
        raise DataError("no MOTION section: not a BVH file, or cut off")
    spaced = "\n".join(lines[:motion]).replace("{", "\n{\n").replace("}", "\n}\n")
    head = [line.strip() for line in spaced.splitlines() if line.strip()]
    if not head or head[0].upper() != "HIERARCHY":
        raise DataError("does not start with HIERARCHY: not a BVH file")
    return head[1:], iter(lines[motion + 1 :])


def _assemble(hierarchy: Hierarchy, motion: Iterator[str], fps: Fraction | float | None) -> Bvh:
    if hierarchy.stack or hierarchy.expects_brace:
        raise DataError("HIERARCHY is not closed: '}' missing")
    if not hierarchy.names:
        raise DataError("HIERARCHY has no joints")
    said = float(numbers([_field(motion, "Frames:")], "Frames", 1)[0])
    if said < 1 or said > _MOST_FRAMES or not said.is_integer():
        raise DataError(f"Frames: must be a whole number of at least 1, got {said:g}")
    time = _field(motion, "Frame Time:")
    rate = rate_from_frame_time(plain_numbers(time)) if fps is None else exact_rate(fps)
    width = sum(len(channels) for channels in hierarchy.channels)
    words = plain_numbers(" ".join(motion)).split()
    frames, notes = _frames(len(words), int(said), width)
    return Bvh(
        names=tuple(hierarchy.names),
        parents=tuple(hierarchy.parents),
        offsets=np.array(hierarchy.offsets, dtype=np.float64),
        channels=tuple(hierarchy.channels),
        fps=rate,
        values=numbers(words, "MOTION", frames * width).reshape(frames, width),
        notes=notes,
    )


def _frames(count: int, said: int, width: int) -> tuple[int, tuple[str, ...]]:
    """How many frames ``count`` numbers are, and what to note where the file says another number.

    Some exporters (Rokoko Studio for Mixamo skeletons) count one frame too few; what is there in whole frames is read.
    """
    if count > said * width and width and count % width == 0:
        return count // width, ("more frames than 'Frames:' says, all of them read",)
    if count != said * width:
        raise DataError(
            f"MOTION holds {count} numbers, expected {said} frames x {width} channels = {said * width}"
            + (" (cut off?)" if count < said * width else "")
        )
    return said, ()


def _field(lines: Iterator[str], label: str) -> str:
    line = " ".join(next(lines, "").split())
    if not line.lower().startswith(label.lower()):
        raise DataError(f"expected '{label}' in MOTION, found '{shown(line, 40)}'")
    return line[len(label) :].strip()
