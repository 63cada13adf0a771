"""Actions made of steps: walking, running, marching, stepping sideways, turning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hmu.data.demo.curves import FPS, Array, keys, min_jerk, smooth
from hmu.data.demo.specs import Spec
from hmu.data.demo.track import HALF_STANCE, State, Track, join, rest, split_reach


@dataclass(frozen=True)
class Style:
    """How a foot travels: swing time in seconds, lift in metres, heel rise before and toe rise after it in radians."""

    period: float
    swing: float
    lift: float
    heel: float
    toe: float


def take_step(track: Track, side: int, start: float, end: float, place: Array, yaw: float, style: Style) -> None:
    """Swing one foot from where it is to ``place`` (x, z) between two times (frames)."""
    n = track.frames
    first = int(np.ceil(start))
    time = np.arange(n, dtype=np.float64)
    u = (time - start) / (end - start)
    origin = track.foot[min(first, n - 1), side].copy()
    travel = min_jerk(u)[:, None]
    later = time >= start
    target = np.array([place[0], 0.0, place[1]])
    path = origin + (target - origin) * travel
    path[:, 1] = style.lift * np.sin(np.pi * np.clip(u, 0, 1) ** 0.85) ** 1.5
    track.foot[later, side] = path[later]
    begin = track.yaw[min(first, n - 1), side]
    track.yaw[later, side] = (begin + (yaw - begin) * travel[:, 0])[later]
    track.planted[(u > 0) & (u < 1), side] = 0.0
    lead = 0.16 * FPS
    rise = [start - lead, start + 0.25 * (end - start), start + 0.85 * (end - start), end + 0.1 * FPS]
    if style.heel or style.toe:
        track.pitch[:, side] += keys(n, rise, [0.0, style.heel, -style.toe, 0.0])


def _plan(spec: Spec, state: State, style: Style, places: list[tuple[Array, float]], first: int, pad: float) -> Track:
    """A track in which the feet visit ``places`` ((x, z) of the foot, yaw) in turn, starting with side ``first``."""
    period, swing = style.period * spec.pace, style.swing * spec.pace
    track = rest(2 * pad + period * (len(places) - 1) + swing, state)
    for index, (place, yaw) in enumerate(places):
        start = (pad + index * period) * FPS
        take_step(track, (first + index) % 2, start, start + swing * FPS, place, yaw, style)
    return track


def _walk_places(
    state: State, steps: int, length: float, bend: float, first: int, width: float
) -> list[tuple[Array, float]]:
    """Alternate footsteps along an arc: ``bend`` radians in all; the last step closes beside the other foot."""
    along = np.append(np.arange(steps) + 0.5, steps - 0.5) * length
    total = along[-1]
    share = np.linspace(0.0, 1.0, 64)
    angle = state.heading + bend * share
    path_x = np.concatenate([[0.0], np.cumsum(np.sin(angle[:-1]) * total / 63)])
    path_z = np.concatenate([[0.0], np.cumsum(np.cos(angle[:-1]) * total / 63)])
    yaw = state.heading + bend * along / total
    x, z = (np.interp(along / total, share, path) for path in (path_x, path_z))
    places = []
    for index in range(steps + 1):
        sign = 1.0 if (first + index) % 2 == 0 else -1.0
        wide = HALF_STANCE if index == steps else width
        side = sign * wide * np.array([np.cos(yaw[index]), -np.sin(yaw[index])])
        places.append((state.centre + np.array([x[index], z[index]]) + side, float(yaw[index] + sign * 0.05)))
    return places


def _stride(track: Track) -> Array:
    """How far the left foot is ahead of the right along the heading, ``(frames,)`` metres."""
    heading = track.yaw.mean(1)
    gap = track.foot[:, 0] - track.foot[:, 1]
    return smooth(gap[:, 0] * np.sin(heading) + gap[:, 2] * np.cos(heading), 1.5)


def _swing_arms(track: Track, state: State, gain: float, bend: float, ease: float) -> None:
    """Arms opposite to the legs; ``bend`` in 0..1 folds the elbows (running)."""
    stride = _stride(track)
    n = track.frames
    fold = bend * keys(n, [0, ease, n - 1 - ease, n - 1], [0.0, 1.0, 1.0, 0.0])
    for side, sign in ((0, -1.0), (1, 1.0)):
        angle = sign * gain * stride
        angle = angle * np.where(angle < 0, 0.8, 1.0)
        hang = state.hang[side]
        reach = np.linalg.norm(hang) * (1 - 0.36 * fold)
        base = np.arctan2(hang[2], -hang[1]) + angle + 0.55 * fold
        direction = np.stack([np.full(n, hang[0]) + 0.05 * fold, -np.cos(base), np.sin(base)], -1)
        track.hand[:, side] = split_reach(direction)
        track.hand[:, side, 3] = reach - 0.03 * np.abs(angle)
    track.pelvis[:, 0] = -0.12 * stride
    track.spine[:, 0] += 0.3 * stride


def _ramp(track: Track, pad: float) -> Array:
    n, ease = track.frames, (pad + 0.3) * FPS
    return keys(n, [0, ease, n - 1 - ease, n - 1], [0.0, 1.0, 1.0, 0.0])


def _bend(spec: Spec, rng: np.random.Generator) -> float:
    angle = float(rng.uniform(0.9, 1.6))
    return {"left": angle, "right": -angle}.get(spec.direction, float(rng.normal(0, 0.04)))


def walk(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Walk forward, straight or in a curve."""
    length = rng.uniform(0.52, 0.66) * {"slow": 0.85, "normal": 1.0, "fast": 1.12}[spec.speed]
    first, pad = int(rng.integers(2)), 0.25
    style = Style(0.5, 0.42, 0.06, 0.75, 0.28)
    places = _walk_places(state, spec.count, length, _bend(spec, rng), first, 0.08)
    track = _plan(spec, state, style, places, first, pad)
    track.sway[:] = 0.16
    _swing_arms(track, state, rng.uniform(0.55, 0.95), 0.0, 6)
    track.spine[:, 1] += 0.05 * _ramp(track, pad)
    return track


def run(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Run forward: both feet off the floor between steps, elbows bent."""
    length = rng.uniform(0.85, 1.0) * {"slow": 0.88, "normal": 1.0, "fast": 1.1}[spec.speed]
    first, pad = int(rng.integers(2)), 0.2
    places = _walk_places(state, spec.count + 2, length, _bend(spec, rng), first, 0.06)
    pace = {"slow": 1.1, "normal": 1.0, "fast": 0.92}[spec.speed]
    track = _plan(Spec("run"), state, Style(0.33 * pace, 0.44 * pace, 0.24, 1.1, 0.1), places, first, pad)
    level = _ramp(track, pad)
    track.sway[:] = 0.05
    airborne = smooth((track.planted.sum(1) == 0).astype(np.float64), 1.2)
    track.fly[:] = 0.075 * airborne * level
    track.height[:] = 1 - 0.05 * level
    _swing_arms(track, state, rng.uniform(0.75, 1.0), 1.0, (pad + 0.25) * FPS)
    track.spine[:, 1] += 0.16 * level
    track.pelvis[:, 1] += 0.08 * level
    return track


def walk_backwards(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Walk backwards with short, flat steps."""
    first, pad = int(rng.integers(2)), 0.25
    style = Style(0.54, 0.42, 0.065, -0.12, -0.3)
    places = _walk_places(state, spec.count, -rng.uniform(0.38, 0.5), float(rng.normal(0, 0.05)), first, 0.09)
    track = _plan(spec, state, style, places, first, pad)
    track.sway[:] = 0.18
    _swing_arms(track, state, rng.uniform(0.45, 0.8), 0.0, 6)
    return track


def crouch_walk(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Sneak forward with bent knees and the trunk leaning forward."""
    first, pad = int(rng.integers(2)), 0.5
    style = Style(0.56, 0.44, 0.07, 0.5, 0.1)
    places = _walk_places(state, spec.count, rng.uniform(0.4, 0.52), float(rng.normal(0, 0.05)), first, 0.1)
    track = _plan(spec, state, style, places, first, pad)
    level = _ramp(track, pad)
    depth = rng.uniform(0.28, 0.36)
    track.sway[:] = 0.2
    track.height[:] = 1 - depth * level
    _swing_arms(track, state, 0.5, 0.8, (pad + 0.2) * FPS)
    track.pelvis[:, 1] += 0.35 * level
    track.spine[:, 1] += 0.4 * level
    track.head[:, 1] -= 0.5 * level
    track.shift[:, 2] -= 0.06 * level
    return track


def march(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """March with high knees, on the spot or forward, arms swinging opposite."""
    first, pad = int(rng.integers(2)), 0.2
    length = 1e-3 if spec.direction == "spot" else rng.uniform(0.25, 0.36)
    style = Style(0.48, 0.46, 0.06, 0.0, 0.0)
    places = _walk_places(state, spec.count, length, 0.0, first, HALF_STANCE)
    if spec.direction == "spot":
        places = places[:-1]
    track = _plan(spec, state, style, places, first, pad)
    lift = 1.25 + 0.2 * spec.size
    raised = np.zeros((track.frames, 2))
    for index in range(spec.count):
        middle = (pad + (index * style.period + style.swing / 2) * spec.pace) * FPS
        half = style.swing / 2 * spec.pace * FPS
        bump = keys(track.frames, [middle - half, middle, middle + half], [0.0, 1.0, 0.0])
        raised[:, (first + index) % 2] += bump
    track.air[:, :, 0] = raised
    track.air[:, :, 1], track.air[:, :, 3] = lift, lift + 0.55
    track.air[:, :, 4] = 0.3
    track.planted = np.minimum(track.planted, 1 - raised)
    track.sway[:] = 0.26
    beat = smooth(raised[:, 0] - raised[:, 1], 1.0)
    for side, sign in ((0, -1.0), (1, 1.0)):
        angle = 0.12 + sign * rng.uniform(0.6, 0.8) * beat
        direction = np.stack([np.full(track.frames, 0.16), -np.cos(angle), np.sin(angle)], -1)
        track.hand[:, side] = split_reach(direction)
        track.hand[:, side, 3] = 0.95 - 0.25 * np.abs(beat)
    ends = keys(track.frames, [0, pad * FPS, track.frames - 1 - pad * FPS, track.frames - 1], [0.0, 1.0, 1.0, 0.0])
    track.hand[:] = ends[:, None, None] * track.hand + (1 - ends)[:, None, None] * split_reach(state.hang)
    return track


def step_sideways(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Side steps: the leading foot opens, the other one closes."""
    side, sign = (0, 1.0) if spec.side == "left" else (1, -1.0)
    length, pad = rng.uniform(0.34, 0.46), 0.3
    style = Style(0.42, 0.38, 0.05, 0.25, 0.0)
    out = np.array([np.cos(state.heading), -np.sin(state.heading)]) * sign
    lead, trail = state.feet[side].copy(), state.feet[1 - side].copy()
    gap = lead - trail
    places: list[tuple[Array, float]] = []
    for _ in range(spec.count):
        lead = lead + out * length
        places += [(lead, float(state.yaw[side])), (lead - gap, float(state.yaw[1 - side]))]
    track = _plan(spec, state, style, places, side, pad)
    track.sway[:] = 0.2
    track.height[:] = 1 - 0.015 * _ramp(track, pad)
    track.head[:, 0] = sign * rng.uniform(0.0, 0.4) * _ramp(track, pad)
    spread = rng.uniform(0.0, 0.12) * _ramp(track, pad)
    track.hand[:, :, 0] += spread[:, None]
    return track


def turn(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Turn on the spot in small steps, or (direction ``forward``) walk, turn and walk on."""
    if spec.direction == "forward":
        return _turn_while_walking(spec, state, rng)
    sign = 1.0 if spec.side == "left" else -1.0
    first = 0 if spec.side == "left" else 1
    angle = sign * np.deg2rad(spec.count) * rng.uniform(0.93, 1.07)
    number = {90: 2, 180: 4, 360: 7}[spec.count]
    return _pivot(spec, state, angle, number, first, 0.35)


def _pivot(spec: Spec, state: State, angle: float, number: int, first: int, pad: float) -> Track:
    """Feet step around the point between them in ``number`` steps, plus one that closes."""
    style = Style(0.36, 0.33, 0.05, 0.3, 0.0)
    yaws = state.heading + angle * np.minimum((np.arange(number + 1) + 1) / number, 1.0)
    places = []
    for index, yaw in enumerate(yaws):
        sign = 1.0 if (first + index) % 2 == 0 else -1.0
        side = sign * HALF_STANCE * np.array([np.cos(yaw), -np.sin(yaw)])
        places.append((state.centre + side, float(yaw + sign * 0.05)))
    track = _plan(spec, state, style, places, first, pad)
    track.sway[:] = 0.2
    level = _ramp(track, pad)
    track.head[:, 0] = np.sign(angle) * 0.35 * level
    track.spine[:, 0] = np.sign(angle) * 0.12 * level
    track.hand[:, :, 0] += 0.12 * level[:, None]
    return track


def _turn_while_walking(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    sign = 1.0 if spec.side == "left" else -1.0
    angle = sign * np.deg2rad(min(spec.count, 180)) * rng.uniform(0.95, 1.05)
    before = walk(Spec("walk", speed="fast", direction="forward", count=2), state, rng)
    middle = before.end_state(state.hang)
    steps = 2 if abs(angle) < 2 else 4
    pivot = _pivot(Spec("turn", speed="fast"), middle, angle, steps, 0 if sign > 0 else 1, 0.05)
    after = walk(Spec("walk", speed="fast", direction="forward", count=2), pivot.end_state(state.hang), rng)
    return join([before, pivot, after])
