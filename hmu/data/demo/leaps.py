"""Leaving the floor: jump and hop."""

from __future__ import annotations

import numpy as np

from hmu.data.demo.curves import FPS, Array, keys
from hmu.data.demo.specs import Spec
from hmu.data.demo.track import SIDES, State, Track, Vector, out_sign, rest, split_reach

GRAVITY = 9.81


def _leaps(spec: Spec, first: float, flight: float, ground: float, n: int) -> tuple[Array, Array, list[float]]:
    """Flight height (share of its peak) and progress 0..count of ``count`` leaps; times of take-off in frames."""
    time = np.arange(n) / FPS
    fly, progress = np.zeros(n), np.zeros(n)
    starts = []
    for index in range(spec.count):
        begin = first + index * (flight + ground)
        u = np.clip((time - begin) / flight, 0, 1)
        fly += 4 * u * (1 - u)
        progress += u
        starts.append(begin * FPS)
    return fly, progress, starts


def _go_on(track: Track, progress: Array, step: Array) -> None:
    track.foot[:, :, [0, 2]] += (progress[:, None] * step)[:, None]


def jump(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Crouch, swing the arms, push off with both feet, fly, land softly; up or forward, 1-3 times."""
    peak = 0.26 + 0.1 * spec.size + rng.uniform(-0.02, 0.02)
    flight = 2 * np.sqrt(2 * peak / GRAVITY)
    first, ground = 0.75, 0.5
    track = rest(first + spec.count * flight + (spec.count - 1) * ground + 0.7, state)
    n = track.frames
    fly, progress, starts = _leaps(spec, first, flight, ground, n)
    air = flight * FPS
    times, crouch, arm_times = [2.0], [0.0], [2.0]
    back, front, end = (0.2, -0.75, -0.55), (0.2, 0.35, 0.85), (0.25, -0.7, 0.5)
    places: list[Vector | None] = [None]
    for start in starts:
        times += [start - 6, start, start + air, start + air + 4]
        crouch += [1.0, 0.0, 0.15, 0.8]
        arm_times += [start - 6, start + 1, start + air + 3]
        places += [back, front, end]
    down = keys(n, [*times, n - 2.0], [*crouch, 0.0])
    track.height[:] = 1 - (0.24 + 0.05 * spec.size) * down
    track.fly[:] = peak * fly
    track.foot[:, :, 1] = (peak * fly * 1.0)[:, None] + 0.05 * fly[:, None]
    if spec.direction == "forward":
        _go_on(track, progress, state.ahead * rng.uniform(0.4, 0.7))
    _point_toes(track, (0, 1), starts, air)
    lean = 0.5 * down
    track.pelvis[:, 1], track.spine[:, 1] = 0.5 * lean, 0.6 * lean
    track.head[:, 1] = -0.5 * lean
    track.shift[:, 2] = -0.06 * down
    for side in (0, 1):
        track.set_arm(side, [*arm_times, n - 3.0], [*places, None], state)
    return track


def _point_toes(track: Track, sides: tuple[int, ...], starts: list[float], air: float) -> None:
    """Heels rise just before take-off; toes touch first on landing."""
    n = track.frames
    for start in starts:
        times = [start - 3, start, start + 0.4 * air, start + air, start + air + 2.5]
        pitch = keys(n, times, [0.0, 0.7, 0.55, 0.35, 0.0])
        for side in sides:
            track.pitch[:, side] += pitch


def hop(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Hop on one leg (``side`` is the leg that hops), the other one held up behind."""
    stance, free = SIDES[spec.side][0], 1 - SIDES[spec.side][0]
    peak = 0.1 + 0.035 * spec.size
    flight = 2 * np.sqrt(2 * peak / GRAVITY)
    first, ground = 0.95, 0.26
    track = rest(first + spec.count * flight + (spec.count - 1) * ground + 0.85, state)
    n = track.frames
    fly, progress, starts = _leaps(spec, first, flight, ground, n)
    air = flight * FPS
    landed = starts[-1] + air
    times, crouch = [8.0], [0.0]
    for start in starts:
        times += [start - 3, start, start + air, start + air + 2]
        crouch += [1.0, 0.0, 0.1, 0.9]
    down = keys(n, [*times, n - 3.0], [*crouch, 0.0])
    track.height[:] = 1 - 0.1 * down
    track.fly[:] = peak * fly
    track.foot[:, :, 1] = (peak * fly * 1.05)[:, None]
    up = keys(n, [5, 13, landed + 4, n - 3.0], [0.0, 1.0, 1.0, 0.0])
    track.air[:, free, 0] = up
    track.air[:, free, 1] = rng.uniform(0.1, 0.5) + 0.15 * fly
    track.air[:, free, 3] = rng.uniform(1.5, 1.8)
    track.air[:, free, 4] = 0.3
    track.planted[:, free] = 1 - up
    track.support += out_sign(stance) * 0.47 * keys(n, [2, 12, landed + 5, n - 3.0], [0.0, 1.0, 1.0, 0.0])
    if spec.direction == "forward":
        _go_on(track, progress, state.ahead * rng.uniform(0.25, 0.4))
    _point_toes(track, (stance,), starts, air)
    track.spine[:, 1] = 0.1 * up + 0.12 * down
    wide = split_reach(np.array([0.5, -0.55, 0.25])) + np.array([0.0, 0.1, 0.0, 0.0])
    for side in (0, 1):
        hang = split_reach(state.hang[side])
        track.hand[:, side] = hang + (up * (0.7 + 0.3 * fly))[:, None] * (wide - hang)
    return track
