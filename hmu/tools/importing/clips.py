"""One BVH file becomes joints and features: read it, find out how it stands, normalise, cut.

Reading and shaping are two steps, since the vertical axis is decided for all files of a skeleton together. Both run in
worker processes.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.motion.bvh import Bvh, parse_bvh
from hmu.motion.decoding import features_to_joints
from hmu.motion.features import joints_to_features
from hmu.motion.mapping import JointMapping, stand
from hmu.motion.posture import Posture, along, leaning, metres_per_unit, posture, upright_axis
from hmu.motion.rest_frame import LOOKED_AT, rest_frames
from hmu.motion.skeleton import T2M

Array = NDArray[np.float64]
_FAST = 12.0  # metres per second: nobody's pelvis moves so
_ORDINARY = (0.9, 2.3)  # metres


@dataclass(frozen=True)
class Take:
    """One file as read.

    Attributes:
        joints: the 22 joints in the file's axes and unit, at the asked rate ``(frames, 22, 3)``.
        posture: how the person stands in it.
        skeleton: names and OFFSETs of the file's joints; equal for files of one skeleton.
        kind: names of the file's joints; equal for files of one exporter.
        cut: seconds left out at the start.
        notes: what a person should know.
    """

    joints: Array
    posture: Posture
    skeleton: str
    kind: str
    cut: float = 0.0
    notes: tuple[str, ...] = ()


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True)
class Reader:
    """Reads the bytes of one BVH file; travels to worker processes.

    Attributes:
        mapping: from the file's joints to ours.
        others: the packaged mappings, to be named where they fit and ``mapping`` does not.
        fps: frames per second of the result.
        source_fps: rate of the files; None = as they say.
        first_frame: ``auto`` (leave out a rest pose in front), ``keep`` or ``drop``.
    """

    mapping: JointMapping
    others: tuple[JointMapping, ...]
    fps: float
    source_fps: float | None = None
    first_frame: str = "auto"

    def __call__(self, name: str, content: bytes) -> Take | str:
        """What the file holds, or the reason why nothing can be used."""
        try:
            return self.read(name, content)
        except DataError as error:
            return str(error).removeprefix(f"{name}.bvh: ")

    def read(self, name: str, content: bytes) -> Take:
        """What the file holds; DataError for a broken or too short one."""
        clip = parse_bvh(content, f"{name}.bvh", self.source_fps)
        weights = self._weights(clip.names)
        rest = weights @ clip.rest()
        dropped, notes = self._in_front(clip, weights, rest)
        joints = weights @ clip.frames(dropped).joints(self.fps)
        if len(joints) < 2:
            raise DataError(f"{len(joints)} frame at {self.fps:g} frames per second: a clip needs at least 2")
        seen = posture(joints, rest)
        if seen.mirrored:
            notes = (*notes, "toes point backwards: left and right may be swapped, or the axes left-handed")
        kind, skeleton = _key(*clip.names), _key(*clip.names, clip.offsets.tobytes().hex())
        return Take(joints, seen, skeleton, kind, float(dropped / clip.fps), (*clip.notes, *notes))

    def _weights(self, names: Sequence[str]) -> Array:
        try:
            return self.mapping.weights(names)
        except DataError as error:
            fitting = [m.name for m in self.others if m.name != self.mapping.name and not m.missing(names)]
            advice = f"mapping={fitting[0]} fits it" if fitting else "write a mapping: docs/data/bvh.md says how"
            raise DataError(f"{error}; {advice}") from None

    def _in_front(self, clip: Bvh, weights: Array, rest: Array) -> tuple[int, tuple[str, ...]]:
        """Frames to leave out at the start, and what to say about it."""
        if self.first_frame == "keep" or len(clip.values) < 2:
            return 0, ()
        if self.first_frame == "drop":
            return 1, ("first frame left out (first_frame=drop)",)
        moving = int(np.argmax((clip.values != clip.values[0]).any(axis=1)))  # the first frame that differs
        start = max(moving - 1, 0)
        found = rest_frames(weights @ clip.frames(start, start + LOOKED_AT).joints(), rest, float(clip.fps))
        return (start + found, ("rest pose in front left out (first_frame=keep keeps it)",)) if found else (0, ())


@dataclass(frozen=True)
class Stance:
    """How the clips of a file are to be turned and scaled."""

    up: str
    unit: float


def stances(
    takes: Mapping[str, Take], mapping: JointMapping, up: str, unit: float | None
) -> dict[str, tuple[Stance, tuple[str, ...]] | str]:
    """For every file its stance and what to say about it, or the reason why it cannot be a person.

    Args:
        takes: files by name (their joints are not looked at).
        mapping: says what files usually have.
        up: the files' vertical axis, or ``auto``: the mapping's, unless the bodies clearly stand along another.
        unit: metres per file unit; None = the mapping's, unless that makes no person and exactly one common unit does.
    """
    axes = _axes(takes, mapping.up) if up == "auto" else dict.fromkeys(takes, up)
    found: dict[str, tuple[Stance, tuple[str, ...]] | str] = {}
    for name, take in takes.items():
        axis = axes[name]
        if axis is None:
            found[name] = _asked(along(take.posture), mapping.up)
            continue
        try:
            metres = metres_per_unit(
                take.posture.height, mapping.unit if unit is None else unit, fixed=unit is not None
            )
        except DataError as error:
            found[name] = str(error)
            continue
        found[name] = Stance(axis, metres), _said(take.posture, mapping, axis, metres, up, unit)
    return found


def _asked(posed: str, given: str) -> str:
    return (
        f"head and feet lie along {posed} in most frames, the mapping says {given}: give up={posed} if the file stands "
        f"so, up={given} if the person does lie (or stands on the hands)"
    )


def _said(
    seen: Posture, mapping: JointMapping, axis: str, metres: float, up: str, unit: float | None
) -> tuple[str, ...]:
    said: list[str] = []
    if up == "auto" and axis != mapping.up:
        said.append(f"{axis} is up, not {mapping.up}: turned (up={mapping.up} leaves it)")
    if unit is None and metres != mapping.unit:
        said.append(f"a unit is {metres:.3g} m, not {mapping.unit:.3g}: scaled (unit=… says otherwise)")
    if leaning(seen, axis) < -0.5:
        said.append("the head is below the feet in most frames: is up= right?")
    if not _ORDINARY[0] <= seen.height * metres <= _ORDINARY[1]:
        said.append(f"a body below {_ORDINARY[0]} m or above {_ORDINARY[1]} m: is the unit {metres:.3g} m? (unit=…)")
    return tuple(said)


def _axes(takes: Mapping[str, Take], given: str) -> dict[str, str | None]:
    """The vertical axis of every file, decided for its skeleton; else that of all skeletons with the same names."""
    groups: dict[str, list[Posture]] = defaultdict(list)
    for take in takes.values():
        groups[take.skeleton].append(take.posture)
    decided = {skeleton: upright_axis(seen, given) for skeleton, seen in groups.items()}
    alike: dict[str, set[str]] = defaultdict(set)
    for take in takes.values():
        axis = decided[take.skeleton]
        if axis is not None:
            alike[take.kind].add(axis)
    only = {kind: next(iter(axes)) if len(axes) == 1 else None for kind, axes in alike.items()}
    return {name: decided[take.skeleton] or only.get(take.kind) for name, take in takes.items()}


@dataclass(frozen=True)
class Shaped:
    """A file's normalised joints, and ``(features, joints that they decode to)`` of each of its clips."""

    joints: Array
    clips: tuple[tuple[Array, Array], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shaper:
    """Turns a file's joints into normalised joints and the features of its clips; travels to worker processes."""

    offsets: Array | None
    facing: str
    fps: float

    def __call__(self, joints: Array, stance: Stance, spans: Sequence[tuple[int, int]]) -> Shaped | str:
        """What becomes of a file's joints ``(frames, 22, 3)``, or the reason why nothing does."""
        facing: Any = self.facing
        try:
            world = stand(joints, stance.unit, stance.up)
            clips: list[tuple[Array, Array]] = []
            for start, stop in spans:
                part = world[start : stop + 1]  # features are steps: one less than joints
                features = joints_to_features(part, T2M, target_offsets=self.offsets, facing=facing)
                clips.append((features, features_to_joints(features, T2M)))
        except DataError as error:
            return str(error)
        fastest = float(np.linalg.norm(np.diff(world[:, 0], axis=0), axis=-1).max()) * self.fps
        notes = (f"jumps: the pelvis moves faster than {_FAST:g} m/s",) if fastest > _FAST else ()
        return Shaped(world, tuple(clips), notes)
