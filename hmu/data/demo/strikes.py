"""Striking and throwing: kick, punch, throw."""

from __future__ import annotations

import numpy as np

from hmu.data.demo import gait
from hmu.data.demo.curves import FPS, keys
from hmu.data.demo.specs import Spec
from hmu.data.demo.track import SIDES, State, Track, Vector, out_sign, rest


def _kicking_leg(direction: str, height: float) -> list[tuple[float, float, float, float]]:
    """Thigh forward and outward, knee, ankle (radians): chambered, at the impact, just after it, retracted, planted."""
    if direction == "side":
        out = height - 0.1
        impact = [(0.1, out, 0.15, -0.2), (0.1, out, 0.1, -0.2)]
        return [(0.7, 0.35, 1.75, 0.1), *impact, (0.6, 0.4, 1.6, 0.1), (0.05, 0.02, 0.1, 0.0)]
    if direction == "back":
        impact = [(-1.15, 0.05, 0.15, -0.2), (-1.15, 0.05, 0.1, -0.2)]
        return [(0.55, 0.05, 1.6, 0.1), *impact, (0.1, 0.05, 1.2, 0.1), (0.0, 0.0, 0.1, 0.0)]
    impact = [(height, 0.02, 0.12, 0.5), (height, 0.02, 0.08, 0.5)]
    return [(height - 0.2, 0.06, 1.8, 0.4), *impact, (height - 0.35, 0.06, 1.6, 0.3), (0.1, 0.0, 0.15, 0.0)]


def kick(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Shift the weight, chamber the knee, extend the foot to about hip height, retract, plant; 1-3 times."""
    side, pace = SIDES[spec.side][0], spec.pace
    lead, once = 0.35, 1.2 * pace
    track = rest(lead + spec.count * once + 0.45, state)
    n = track.frames
    sideways, back = spec.direction == "side", spec.direction == "back"
    height = 1.45 + 0.22 * spec.size + rng.normal(0, 0.05)  # hip flexion at impact, radians
    times, weight = [0.0, lead * FPS - 1], [0.0, 0.0]
    legs = [(0.0, 0.0, 0.0, 0.0)] * 2
    for index in range(spec.count):
        begin = (lead + index * once) * FPS
        times += [begin + t * pace * FPS for t in (0.34, 0.55, 0.63, 0.86, 1.16)]
        weight += [1.0, 1.0, 1.0, 1.0, 0.0]
    legs += _kicking_leg(spec.direction, height) * spec.count
    track.air[:, side, 0] = keys(n, times, weight)
    track.air[:, side, 1:] = keys(n, times, legs)
    up = track.air[:, side, 0]
    track.planted[:, side] = 1 - up
    stand = [0, lead * FPS, n - 1 - 0.4 * FPS, n - 1]  # the weight is on the other foot in between
    track.support += out_sign(1 - side) * 0.44 * keys(n, stand, [0.0, 1.0, 1.0, 0.0])
    strike = np.clip(1 - track.air[:, side, 3] / 1.2, 0, 1) * up  # 1 when the knee is extended
    track.height[:] = 1 - 0.02 * up
    if back:
        track.pelvis[:, 1], track.spine[:, 1] = 0.6 * strike, 0.5 * strike
        track.shift[:, 2] += 0.05 * strike
    elif sideways:
        track.pelvis[:, 2] = out_sign(side) * 0.45 * strike
        track.spine[:, 2] = -out_sign(side) * 0.1 * strike
        track.shift[:, 0] -= out_sign(side) * 0.06 * strike
    else:
        track.pelvis[:, 1], track.spine[:, 1] = -0.25 * strike, 0.1 * up - 0.1 * strike
        track.pelvis[:, 0] = -out_sign(side) * 0.25 * strike
        track.shift[:, 2] -= 0.05 * strike
    guard = rng.uniform(0.4, 1.0)
    for arm in (0, 1):
        track.lead_hand(arm, guard * up, (0.25, -0.35, 0.42), state)
        track.hand[:, arm, 0] += 0.25 * strike
    return track


def punch(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """From a guard, the fist shoots forward at shoulder height and returns, with a twist of the trunk."""
    pace = spec.pace
    lead, once = 0.45, 0.62 * pace
    track = rest(lead + spec.count * once + 0.6, state)
    n = track.frames
    guard: Vector = (0.05, -0.12 + rng.normal(0, 0.03), 0.5)
    reach = 0.93 + 0.03 * spec.size
    level = 0.02 + 0.08 * spec.size
    target: Vector = (-0.14 * reach, level, 0.985 * reach)
    times: list[list[float]] = [[0.0, lead * FPS], [0.0, lead * FPS]]
    places: list[list[Vector | None]] = [[None, guard], [None, guard]]
    twist_times, twist = [0.0, lead * FPS], [0.0, 0.0]
    for index in range(spec.count):
        side = index % 2 if spec.side == "both" else SIDES[spec.side][0]
        begin = (lead + index * once) * FPS
        hit = begin + 0.28 * pace * FPS
        times[side] += [begin + 0.1 * pace * FPS, hit, hit + 1.0, begin + 0.56 * pace * FPS]
        places[side] += [(0.12, -0.16, 0.42), target, target, guard]
        twist_times += [begin + 0.1 * pace * FPS, hit, begin + 0.56 * pace * FPS]
        twist += [out_sign(side) * 0.15, -out_sign(side) * 0.5, 0.0]
    for side in (0, 1):
        track.set_arm(side, [*times[side], n - 10, n - 1], [*places[side], guard, None], state)
        track.elbow[:, side, 0] = 0.1
    turn = keys(n, twist_times, twist)
    track.spine[:, 0], track.pelvis[:, 0] = 0.75 * turn, 0.35 * turn
    ready = keys(n, [0, lead * FPS, n - 10, n - 1], [0.0, 1.0, 1.0, 0.0])
    track.height[:] = 1 - 0.035 * ready
    track.spine[:, 1] = 0.1 * ready + 0.12 * np.abs(turn)
    track.head[:, 0] = -0.9 * track.spine[:, 0] - 0.5 * track.pelvis[:, 0]
    track.shift[:, 2] = 0.08 * np.abs(turn)
    return track


def throw(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Overhand throw: wind up behind the head, step with the opposite foot, whip forward, follow through."""
    side, pace = SIDES[spec.side][0], spec.pace
    wind, release = 0.75 * pace + 0.2, 0.75 * pace + 0.2 + 0.3 * pace
    track = rest(release + 1.2, state)
    n = track.frames
    w, r = wind * FPS, release * FPS
    low = 0.1 * spec.size
    hand: list[Vector | None] = [None, (0.5, -0.3, -0.5), (0.55, 0.3 + low, -0.45), (0.3, 0.75 + low, 0.45)]
    hand += [(0.0, 0.2, 0.95), (-0.35, -0.6, 0.55), None]
    track.set_arm(side, [3, 0.5 * w, w, r - 1, r + 1.2, r + 6, n - 2], hand, state)
    other: list[Vector | None] = [None, (0.1, -0.05, 0.85), (0.35, -0.6, -0.1), None]
    track.set_arm(1 - side, [3, w, r + 2, n - 4], other, state)
    turn = keys(n, [2, w, r + 3, n - 2], [0.0, -out_sign(side) * -0.6, -out_sign(side) * 0.55, 0.0])
    track.spine[:, 0], track.pelvis[:, 0] = 0.7 * turn, 0.4 * turn
    track.head[:, 0] = -turn
    track.spine[:, 1] = keys(n, [2, w, r + 2, n - 2], [0.0, -0.15, 0.35, 0.0])
    step = state.ahead * rng.uniform(0.28, 0.4)
    style = gait.Style(0.4, 0.4, 0.08, 0.3, 0.15)
    place = state.feet[1 - side] + step
    gait.take_step(track, 1 - side, w - 4, w + 4, place, float(state.yaw[1 - side]), style)
    track.sway[:] = 0.25
    gait.take_step(track, side, r + 9, r + 17, state.feet[side] + step, float(state.yaw[side]), style)
    return track
