"""One BVH file becomes joints and features: read it, find out how it stands, normalise, cut.

Reading and shaping are two steps, since the vertical axis is decided for all files of a skeleton together. Both run in
worker processes.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.motion.bvh import Bvh, parse_bvh
from hmu.motion.decoding import features_to_joints
from hmu.motion.features import Facing, joints_to_features
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
        others: the packaged mappings, to be named where they fit and ``mapping`` does not.
        fps: frames per second of the result. source_fps: of the files; None = as they say.
        first_frame: ``auto`` (leave out a rest pose in front), ``keep`` or ``drop``.
    """

    mapping: JointMapping
    others: tuple[JointMapping, ...]
    fps: float
    source_fps: float | None = None
    first_frame: str = "auto"

    def __call__(self, name: str, content: bytes) -> Take:
        """What the file holds; DataError for a broken or too short one."""
        clip = parse_bvh(content, f"{name}.bvh", self.source_fps)
        weights = self._weights(clip.names)
        rest = weights @ clip.rest()
        dropped, notes = self._in_front(clip, weights, rest)
        joints = weights @ clip.frames(dropped).joints(self.fps)
        if len(joints) < 2:
            raise DataError(f"{len(joints)} frame at {self.fps:g} frames per second: a clip needs at least 2")
        stance = posture(joints, rest)
        if stance.mirrored:
            notes = (*notes, "toes point backwards: left and right may be swapped, or the axes left-handed")
        kind, skeleton = _key(*clip.names), _key(*clip.names, clip.offsets.tobytes().hex())
        return Take(joints, stance, skeleton, kind, float(dropped / clip.fps), (*clip.notes, *notes))

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
        still = rest_frames(weights @ clip.frames(start, start + LOOKED_AT).joints(), rest, float(clip.fps))
        return (start + still, ("rest pose in front left out (first_frame=keep keeps it)",)) if still else (0, ())


@dataclass(frozen=True)
class Stance:
    """How the clips of a file are to be turned and scaled, and what a person should know about it."""

    up: str
    unit: float
    notes: tuple[str, ...]


def stance(take: Take, axis: str | None, mapping: JointMapping, up: str, unit: float | None) -> Stance:
    """How a file is to be turned and scaled.

    Args:
        take: the file (its joints are not looked at).
        axis: its vertical axis, see :func:`vertical_axes`.
        mapping: says what files usually have.
        up: what was asked: an axis, or ``auto``.
        unit: metres per file unit; None = the mapping's, unless that makes no person and exactly one common unit does.

    Raises:
        DataError: it cannot be a person, or may stand along several axes.
    """
    body = take.posture
    if axis is None:
        posed = along(body.up)
        raise DataError(
            f"head and feet lie along {posed} in most frames, the mapping says {mapping.up}: give up={posed} if the "
            f"file stands so, up={mapping.up} if the person does lie (or stands on the hands)"
        )
    metres = metres_per_unit(body.height, mapping.unit if unit is None else unit, fixed=unit is not None)
    notes: list[str] = []
    if up == "auto" and axis != mapping.up:
        notes.append(f"{axis} is up, not {mapping.up}: turned (up={mapping.up} leaves it)")
    if unit is None and metres != mapping.unit:
        notes.append(f"a unit is {metres:.3g} m, not {mapping.unit:.3g}: scaled (unit=… says otherwise)")
    if leaning(body.up, axis) < -0.5:
        notes.append("the head is below the feet in most frames: is up= right?")
    if not _ORDINARY[0] <= body.height * metres <= _ORDINARY[1]:
        notes.append(f"a body below {_ORDINARY[0]} m or above {_ORDINARY[1]} m: is the unit {metres:.3g} m? (unit=…)")
    return Stance(axis, metres, tuple(notes))


def vertical_axes(takes: Mapping[str, Take], up: str, usual: str) -> dict[str, str | None]:
    """The vertical axis of every file: ``up``, or for ``auto`` the ``usual`` one unless bodies clearly stand otherwise.

    Decided for all files of a skeleton, else as for all skeletons with the same names; None where nobody can tell.
    """
    if up != "auto":
        return dict.fromkeys(takes, up)
    groups: dict[str, list[Posture]] = defaultdict(list)
    for take in takes.values():
        groups[take.skeleton].append(take.posture)
    decided = {skeleton: upright_axis(bodies, usual) for skeleton, bodies in groups.items()}
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
    facing: Facing
    fps: float

    def __call__(self, joints: Array, stance: Stance, spans: Sequence[tuple[int, int]]) -> Shaped:
        """What becomes of a file's joints ``(frames, 22, 3)``."""
        world = stand(joints, stance.unit, stance.up)
        clips: list[tuple[Array, Array]] = []
        for start, stop in spans:
            part = world[start : stop + 1]  # features are steps: one less than joints
            features = joints_to_features(part, T2M, target_offsets=self.offsets, facing=self.facing)
            clips.append((features, features_to_joints(features, T2M)))
        fastest = float(np.linalg.norm(np.diff(world[:, 0], axis=0), axis=-1).max()) * self.fps
        notes = (f"jumps: the pelvis moves faster than {_FAST:g} m/s",) if fastest > _FAST else ()
        return Shaped(world, tuple(clips), notes)
