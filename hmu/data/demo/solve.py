"""From control channels to joints: pelvis over the feet, two-bone inverse kinematics for legs and arms."""

from __future__ import annotations

import numpy as np

from hmu.data.demo.body import ANKLE, ELBOW, KNEE, WRIST, Body
from hmu.data.demo.curves import Array, erode, rotation, smooth, turn
from hmu.data.demo.track import Track

_EXTENSION = 0.992  # a weight-bearing leg is never quite straight
_PELVIS_SMOOTHING = 2.2  # frames
_SIDES = (1.0, -1.0)  # left, right


def solve(body: Body, track: Track) -> Array:
    """Joint positions ``(frames, 22, 3)`` in metres, y up, float64."""
    joints = np.zeros((track.frames, 22, 3))
    heading = smooth(track.yaw.mean(1), _PELVIS_SMOOTHING)
    frame = rotation(heading + track.pelvis[:, 0], track.pelvis[:, 1], track.pelvis[:, 2])
    upright = rotation(heading + track.pelvis[:, 0], *np.zeros((2, track.frames)))
    ankles, soles = _feet(body, track)
    joints[:, 0] = _pelvis(body, track, rotation(heading, *np.zeros((2, track.frames))), frame, ankles)
    for side in (0, 1):
        _leg(body, track, side, joints, (frame, upright), (ankles[:, side], soles[:, side]))
    _trunk_and_arms(body, track, joints, frame)
    return joints


def _feet(body: Body, track: Track) -> tuple[Array, Array]:
    """Planted ankles and ankle -> ball vectors, ``(frames, 2, 3)``: heels rise about the ball, toes about the heel."""
    flat = track.foot * body.leg
    sole = body.offsets[10]
    ankles, soles = np.empty_like(flat), np.empty_like(flat)
    for side in (0, 1):
        zero = np.zeros(track.frames)
        soles[:, side] = turn(rotation(track.yaw[:, side], track.pitch[:, side], zero), sole)
        level = turn(rotation(track.yaw[:, side], zero, zero), sole)
        raised = flat[:, side] + [0.0, -sole[1], 0.0] + level - soles[:, side]
        on_heel = flat[:, side] + [0.0, -sole[1], 0.0]
        ankles[:, side] = np.where(track.pitch[:, side, None] > 0, raised, on_heel)
    return ankles, soles


def _pelvis(body: Body, track: Track, facing: Array, frame: Array, ankles: Array) -> Array:
    """Over the weighted mean of the feet, as high as intended but never beyond the reach of a planted leg."""
    planted = np.stack([smooth(track.planted[:, side], 1.0) for side in (0, 1)], -1)
    left = np.clip(0.5 + track.support + track.sway * (planted[:, 0] - planted[:, 1]), 0.0, 1.0)
    flat = track.foot * body.leg
    place = smooth(left[:, None] * flat[:, 0] + (1 - left)[:, None] * flat[:, 1], _PELVIS_SMOOTHING)
    place[:, 1] = 0.0
    place += turn(facing, track.shift * [1.0, 0.0, 1.0]) * body.leg
    length = body.length(KNEE, ANKLE) * _EXTENSION
    hips = [turn(frame, body.offsets[side + 1]) for side in (0, 1)]
    fly = track.fly * body.leg
    height = track.height * (length - body.offsets[1, 1] - body.offsets[10, 1]) - 0.004
    for side in (0, 1):
        gap = (place + hips[side] - ankles[:, side])[:, [0, 2]]
        reach = np.sqrt(np.maximum(length**2 - (gap**2).sum(-1), 0.01))
        limit = ankles[:, side, 1] + reach - hips[side][:, 1] - fly
        height = np.minimum(height, limit + 0.6 * (1 - planted[:, side]))
    place[:, 1] = smooth(erode(height, 1), 1.0) + fly + track.shift[:, 1] * body.leg
    return place


def _two_bones(root: Array, target: Array, lengths: tuple[float, float], pole: Array) -> tuple[Array, Array]:
    """Middle and end joint ``(frames, 3)`` of a limb that reaches for ``target`` and bends towards ``pole``."""
    first, second = lengths
    line = target - root
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    direction = line / np.maximum(distance, 1e-9)
    reach = np.clip(distance, abs(first - second) + 0.02, (first + second) * 0.9995)
    along = (first**2 - second**2 + reach**2) / (2 * reach)
    bend = np.sqrt(np.maximum(first**2 - along**2, 0.0))
    side = pole - (pole * direction).sum(-1, keepdims=True) * direction
    side = side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-9)
    return root + direction * along + side * bend, root + direction * reach


def _swung(forward: Array, outward: Array, sign: float) -> Array:
    """Unit vector of a limb swung forward, then outward, ``(frames, 3)``; 0, 0 = straight down."""
    return np.stack([sign * np.sin(outward) * np.cos(forward), -np.cos(outward) * np.cos(forward), np.sin(forward)], -1)


def _leg(
    body: Body, track: Track, side: int, joints: Array, frames: tuple[Array, Array], foot: tuple[Array, Array]
) -> None:
    frame, upright = frames
    ankle, sole = foot
    sign = _SIDES[side]
    weight, forward, outward, knee, point = (track.air[:, side, [i]] for i in range(5))
    hip = joints[:, 0] + turn(frame, body.offsets[side + 1])
    a, out, k, p = forward[:, 0], outward[:, 0], knee[:, 0], point[:, 0]
    thigh, shin = _swung(a, out, sign), _swung(a - k, out, sign)
    free = hip + turn(upright, thigh * body.length(KNEE) + shin * body.length(ANKLE))
    ahead = turn(rotation(track.yaw[:, side], *np.zeros((2, track.frames))), [0.0, 0.0, 1.0])
    pole = (1 - weight) * (ahead + upright[:, :, 2]) + weight * 2 * turn(
        upright, _swung(a - k / 2 + np.pi / 2, out, sign)
    )
    size = float(np.linalg.norm(body.offsets[10]))
    rest = float(np.arctan2(-body.offsets[10, 1], body.offsets[10, 2]))
    loose = turn(upright, _swung(a - k + np.pi / 2 - rest - p, out, sign)) * size
    blend = sole + weight * (loose - sole)
    blend *= size / np.linalg.norm(blend, axis=-1, keepdims=True)
    share = np.concatenate([weight**2, 1 - (1 - weight) ** 2, weight**2], -1)  # up first, then away: no dragging
    target = ankle + share * (free - ankle)
    target[:, 1] += np.maximum(0.0, -target[:, 1] - blend[:, 1])  # toes never below the floor
    middle, end = _two_bones(hip, target, (body.length(KNEE), body.length(ANKLE)), pole)
    joints[:, 1 + side], joints[:, 4 + side], joints[:, 7 + side] = hip, middle, end
    joints[:, 10 + side] = end + blend


def _trunk_and_arms(body: Body, track: Track, joints: Array, frame: Array) -> None:
    third = rotation(*(track.spine.T / 3))
    rotations = [frame]
    for _ in range(3):
        rotations.append(rotations[-1] @ third)
    chest = rotations[3]
    for index, (joint, parent) in enumerate(((3, 0), (6, 3), (9, 6), (12, 9))):
        joints[:, joint] = joints[:, parent] + turn(rotations[index], body.offsets[joint])
    nod = chest @ rotation(track.head[:, 0], track.head[:, 1], np.zeros(track.frames))
    joints[:, 15] = joints[:, 12] + turn(nod, body.offsets[15])
    for side in (0, 1):
        _arm(body, track, side, joints, chest)


def _arm(body: Body, track: Track, side: int, joints: Array, chest: Array) -> None:
    sign = np.array([_SIDES[side], 1.0, 1.0])
    hand = track.hand[:, side, :3]
    hand = hand / np.linalg.norm(hand, axis=-1, keepdims=True)
    collar = joints[:, 9] + turn(chest, body.offsets[13 + side])
    shrug = 0.35 * np.clip(hand[:, 1] + 0.3, 0.0, 1.0)  # the shoulder girdle follows a raised arm
    bone = body.offsets[16 + side]
    lifted = np.stack(
        [
            bone[0] * np.cos(shrug) - abs(bone[1]) * np.sin(shrug) * sign[0],
            bone[1] * np.cos(shrug) + abs(bone[0]) * np.sin(shrug),
            np.full(track.frames, bone[2]),
        ],
        -1,
    )
    shoulder = collar + turn(chest, lifted)
    up = np.clip(hand[:, [1]], 0.0, 1.0)
    wide = 0.25 + 0.2 * np.clip(hand[:, [2]], 0.0, 1.0) + 0.55 * up
    pole = np.concatenate([wide, -0.75 * (1 - up), -0.65 * (1 - up)], -1) + track.elbow[:, side]
    target = shoulder + turn(chest, hand * sign) * (track.hand[:, side, [3]] * body.length(ELBOW, WRIST))
    elbow, wrist = _two_bones(shoulder, target, (body.length(ELBOW), body.length(WRIST)), turn(chest, pole * sign))
    for joint, place in ((13, collar), (16, shoulder), (18, elbow), (20, wrist)):
        joints[:, joint + side] = place
