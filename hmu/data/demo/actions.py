"""Actions on the spot: strikes, gestures, postures, jumps. Each returns a track that starts and ends standing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hmu.data.demo import gait
from hmu.data.demo.curves import FPS, Array, keys
from hmu.data.demo.specs import Spec
from hmu.data.demo.track import State, Track, Vector, rest, split_reach

GRAVITY = 9.81
_SIDES = {"left": (0,), "right": (1,), "both": (0, 1)}


def _out(side: int) -> float:
    return 1.0 if side == 0 else -1.0


def kick(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Shift the weight, chamber the knee, extend the foot to about hip height, retract, plant; 1-3 times."""
    side, pace = _SIDES[spec.side][0], spec.pace
    lead, once = 0.35, 1.2 * pace
    track = rest(lead + spec.count * once + 0.45, state)
    n = track.frames
    sideways, back = spec.direction == "side", spec.direction == "back"
    height = 1.45 + 0.22 * spec.size + rng.normal(0, 0.05)  # hip flexion at impact, radians
    times, weight = [0.0, lead * FPS - 1], [0.0, 0.0]
    legs: list[list[float]] = [[0.0, 0.0, 0.0, 0.0]] * 2
    for index in range(spec.count):
        begin = (lead + index * once) * FPS
        times += [begin + t * pace * FPS for t in (0.34, 0.55, 0.63, 0.86, 1.16)]
        weight += [1.0, 1.0, 1.0, 1.0, 0.0]
        if sideways:
            legs = [*legs, [0.7, 0.35, 1.75, 0.1], [0.1, height - 0.1, 0.15, -0.2], [0.1, height - 0.1, 0.1, -0.2]]
            legs += [[0.6, 0.4, 1.6, 0.1], [0.05, 0.02, 0.1, 0.0]]
        elif back:
            legs = [*legs, [0.55, 0.05, 1.6, 0.1], [-1.15, 0.05, 0.15, -0.2], [-1.15, 0.05, 0.1, -0.2]]
            legs += [[0.1, 0.05, 1.2, 0.1], [0.0, 0.0, 0.1, 0.0]]
        else:
            legs = [*legs, [height - 0.2, 0.06, 1.8, 0.4], [height, 0.02, 0.12, 0.5], [height, 0.02, 0.08, 0.5]]
            legs += [[height - 0.35, 0.06, 1.6, 0.3], [0.1, 0.0, 0.15, 0.0]]
    track.air[:, side, 0] = keys(n, times, weight)
    track.air[:, side, 1:] = keys(n, times, legs)
    up = track.air[:, side, 0]
    track.planted[:, side] = 1 - up
    _lean_to(track, 1 - side, lead, 0.44)
    strike = np.clip(1 - track.air[:, side, 3] / 1.2, 0, 1) * up  # 1 when the knee is extended
    track.height[:] = 1 - 0.02 * up
    if back:
        track.pelvis[:, 1], track.spine[:, 1] = 0.6 * strike, 0.5 * strike
        track.shift[:, 2] += 0.05 * strike
    elif sideways:
        track.pelvis[:, 2] = _out(side) * 0.45 * strike
        track.spine[:, 2] = -_out(side) * 0.1 * strike
        track.shift[:, 0] -= _out(side) * 0.06 * strike
    else:
        track.pelvis[:, 1], track.spine[:, 1] = -0.25 * strike, 0.1 * up - 0.1 * strike
        track.pelvis[:, 0] = -_out(side) * 0.25 * strike
        track.shift[:, 2] -= 0.05 * strike
    guard = rng.uniform(0.4, 1.0)
    for arm in (0, 1):
        hang = split_reach(state.hang[arm])
        ready = split_reach(np.array([0.25, -0.35, 0.42]))
        track.hand[:, arm] = hang + (guard * up)[:, None] * (ready - hang)
        track.hand[:, arm, 0] += 0.25 * strike
    return track


def _lean_to(track: Track, side: int, lead: float, amount: float, tail: float = 0.4) -> None:
    """Bring the weight over one foot before ``lead`` seconds, back during the last ``tail`` seconds."""
    n = track.frames
    end = n - 1 - tail * FPS
    track.support += _out(side) * amount * keys(n, [0, lead * FPS, end, n - 1], [0.0, 1.0, 1.0, 0.0])


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
        side = index % 2 if spec.side == "both" else _SIDES[spec.side][0]
        begin = (lead + index * once) * FPS
        hit = begin + 0.28 * pace * FPS
        times[side] += [begin + 0.1 * pace * FPS, hit, hit + 1.0, begin + 0.56 * pace * FPS]
        places[side] += [(0.12, -0.16, 0.42), target, target, guard]
        twist_times += [begin + 0.1 * pace * FPS, hit, begin + 0.56 * pace * FPS]
        twist += [_out(side) * 0.15, -_out(side) * 0.5, 0.0]
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
    side, pace = _SIDES[spec.side][0], spec.pace
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
    turn = keys(n, [2, w, r + 3, n - 2], [0.0, -_out(side) * -0.6, -_out(side) * 0.55, 0.0])
    track.spine[:, 0], track.pelvis[:, 0] = 0.7 * turn, 0.4 * turn
    track.head[:, 0] = -turn
    track.spine[:, 1] = keys(n, [2, w, r + 2, n - 2], [0.0, -0.15, 0.35, 0.0])
    step = np.array([np.sin(state.heading), np.cos(state.heading)]) * rng.uniform(0.28, 0.4)
    style = gait.Style(0.4, 0.4, 0.08, 0.3, 0.15)
    place = state.feet[1 - side] + step
    gait.take_step(track, 1 - side, w - 4, w + 4, place, float(state.yaw[1 - side]), style)
    track.sway[:] = 0.25
    gait.take_step(track, side, r + 9, r + 17, state.feet[side] + step, float(state.yaw[side]), style)
    return track


def wave(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Raise the hand to about head height or above and swing the forearm from side to side ``count`` times."""
    pace = spec.pace
    lead, beat = 0.5 + 0.2 * rng.random(), 0.46 * pace
    track = rest(2 * lead + spec.count * beat + 0.15, state)
    n = track.frames
    height = 0.66 + 0.16 * spec.size
    width = 0.26 + 0.07 * spec.size
    centre = 0.3 + rng.normal(0, 0.03)
    for side in _SIDES[spec.side]:
        times, places = [2.0, 0.5 * lead * FPS], [None, (0.4, -0.1, 0.5)]
        for index in range(spec.count):
            begin = (lead + index * beat) * FPS
            for phase, sign in ((0.0, 1.0), (0.5, -1.0)):
                times.append(begin + phase * beat * FPS)
                places.append((centre + sign * width, height - 0.05 * sign, 0.18))
        times += [(lead + spec.count * beat) * FPS, n - 0.5 * lead * FPS, n - 2.0]
        places += [(centre + width, height - 0.05, 0.18), (0.4, -0.1, 0.45), None]
        track.set_arm(side, times, places, state)
    up = keys(n, [2, lead * FPS, n - lead * FPS, n - 2], [0.0, 1.0, 1.0, 0.0])
    tilt = -sum(_out(side) for side in _SIDES[spec.side])
    track.spine[:, 2] = -tilt * -0.06 * up
    track.support += tilt * 0.08 * up
    return track


def clap(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Hands meet in front of the chest ``count`` times."""
    pace = spec.pace
    lead, beat = 0.5, 0.36 * pace
    track = rest(2 * lead + spec.count * beat + 0.1, state)
    n = track.frames
    level = -0.12 + 0.14 * spec.size + rng.normal(0, 0.03)
    spread = 0.12 + 0.1 * (spec.size + 1)
    # half the distance between the shoulders is about 0.38 arm lengths: the palms meet 3 cm from the midline
    closed: Vector = (-0.325, level, 0.56)
    opened: Vector = (-0.325 + spread + 0.08, level, 0.56)
    times, places = [1.0, (lead - 0.5 * beat) * FPS], [None, opened]
    for index in range(spec.count):
        begin = (lead + index * beat) * FPS
        times += [begin, begin + 0.5 * beat * FPS]
        places += [closed, opened]
    for side in (0, 1):
        track.set_arm(side, [*times, n - 2.0], [*places, None], state)
        track.elbow[:, side, 0] = 0.35
    track.head[:, 1] = 0.1 * keys(n, [0, 8, n - 9, n - 1], [0.0, 1.0, 1.0, 0.0])
    return track


def raise_arms(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Raise one or both arms over the head, forward or sideways, hold, lower."""
    up, hold = 0.8 * spec.pace, rng.uniform(0.4, 0.9)
    track = rest(0.4 + 2 * up + hold, state)
    n = track.frames
    top: Vector = (0.12 + 0.12 * rng.random(), 0.93, 0.08) if spec.amplitude != "low" else (0.5, 0.78, 0.1)
    if spec.direction == "side":
        via: Vector = (0.95, 0.0, 0.1)
    else:
        via = (0.15, 0.0, 0.95)
    marks = [3, 3 + 0.5 * up * FPS, 3 + up * FPS, 3 + (up + hold) * FPS, n - 3 - 0.5 * up * FPS, n - 3]
    for side in _SIDES[spec.side]:
        track.set_arm(side, marks, [None, via, top, top, via, None], state)
    level = keys(n, [marks[0], marks[2], marks[3], n - 3], [0.0, 1.0, 1.0, 0.0])
    track.spine[:, 1] = -0.08 * level
    track.head[:, 1] = -0.15 * level * rng.uniform(0, 2)
    if spec.side != "both":
        track.spine[:, 2] = _out(_SIDES[spec.side][0]) * 0.07 * level
    return track


def squat(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Bend the knees until the hips are low over the feet, arms forward for balance, and rise again."""
    once = (1.5 if spec.count == 1 else 1.3) * spec.pace
    track = rest(0.3 + spec.count * once + 0.25, state)
    n = track.frames
    times, level = [0.0, 0.3 * FPS], [0.0, 0.0]
    for index in range(spec.count):
        begin = 0.3 + index * once
        times += [(begin + t * once) * FPS for t in (0.42, 0.56, 0.99)]
        level += [1.0, 1.0, 0.0]
    down = keys(n, times, level)
    depth = 0.5 + 0.08 * spec.size + rng.uniform(-0.02, 0.02)
    track.height[:] = 1 - depth * down
    track.shift[:, 2] = -0.17 * down
    track.pelvis[:, 1], track.spine[:, 1] = 0.4 * down, 0.3 * down
    track.head[:, 1] = -0.4 * down
    front = split_reach(np.array([0.0, 0.05, 0.93]))
    for side in (0, 1):
        hang = split_reach(state.hang[side])
        track.hand[:, side] = hang + down[:, None] * (front - hang)
    return track


def bow(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Bend the trunk forward from the hips with straight legs, hold, and straighten."""
    once = (1.9 if spec.count == 1 else 1.5) * spec.pace
    track = rest(0.3 + spec.count * once + 0.2, state)
    n = track.frames
    times, level = [0.0, 0.3 * FPS], [0.0, 0.0]
    for index in range(spec.count):
        begin = 0.3 + index * once
        times += [(begin + t * once) * FPS for t in (0.38, 0.62, 0.99)]
        level += [1.0, 1.0, 0.0]
    down = keys(n, times, level)
    angle = 1.1 + 0.3 * spec.size + rng.normal(0, 0.05)
    track.pelvis[:, 1], track.spine[:, 1] = 0.55 * angle * down, 0.45 * angle * down
    track.shift[:, 2] = -0.13 * angle * down
    track.head[:, 1] = 0.25 * down
    belly = rng.random() < 0.3
    for side in (0, 1):
        hang = split_reach(state.hang[side])
        low = np.array([-0.3, -0.45, 0.35]) if belly and side == 0 else np.array([0.1, -0.92, 0.3 * angle])
        track.hand[:, side] = hang + down[:, None] * (split_reach(low) - hang)
    return track


def sit(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Sit down on an unseen chair (hips back and low, thighs level); direction ``up`` stands up again."""
    down_time = 1.1 * spec.pace
    hold = rng.uniform(0.9, 1.4)
    rises = spec.direction == "up"
    track = rest(0.35 + down_time + hold + (down_time + 0.25 if rises else 0.0), state)
    n = track.frames
    marks = [0.35 * FPS, (0.35 + down_time) * FPS, (0.35 + down_time + hold) * FPS]
    ends = [1.0, 0.0] if rises else [1.0]
    times = [*marks, n - 5.0] if rises else [*marks[:2], n - 1.0]
    seat = keys(n, times, [0.0, 1.0, *ends])
    middle = (marks[0] + marks[1]) / 2
    lean = [0.0, 0.55, 0.08]
    lean_times = [marks[0], middle, marks[1]]
    if rises:
        lean, lean_times = [*lean, 0.08, 0.55, 0.0], [*lean_times, marks[2], (marks[2] + n) / 2, n - 4.0]
    bend = keys(n, lean_times, lean)
    track.height[:] = 1 - (0.46 + rng.uniform(-0.02, 0.02)) * seat
    track.shift[:, 2] = -0.40 * seat
    track.pelvis[:, 1], track.spine[:, 1] = 0.6 * bend - 0.1 * seat, 0.5 * bend
    lap = split_reach(np.array([-0.05, -0.6, 0.5]))
    for side in (0, 1):
        hang = split_reach(state.hang[side])
        track.hand[:, side] = hang + seat[:, None] * (lap - hang)
    return track


def _leaps(spec: Spec, first: float, flight: float, ground: float, n: int) -> tuple[Array, Array, list[float]]:
    """Flight height (as a share of its peak), and progress 0..count, of ``count`` leaps; times of take-off in frames."""
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


def jump(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Crouch, swing the arms, push off with both feet, fly, land softly; up or forward, 1-3 times."""
    peak = 0.26 + 0.1 * spec.size + rng.uniform(-0.02, 0.02)
    flight = 2 * np.sqrt(2 * peak / GRAVITY)
    first, ground = 0.75, 0.5
    track = rest(first + spec.count * flight + (spec.count - 1) * ground + 0.7, state)
    n = track.frames
    fly, progress, starts = _leaps(spec, first, flight, ground, n)
    air = flight * FPS
    times, crouch = [2.0], [0.0]
    arm_times: list[float] = [2.0]
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
        ahead = np.array([np.sin(state.heading), np.cos(state.heading)]) * rng.uniform(0.4, 0.7)
        track.foot[:, :, 0] += (progress * ahead[0])[:, None]
        track.foot[:, :, 2] += (progress * ahead[1])[:, None]
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
    stance = _SIDES[spec.side][0]
    free = 1 - stance
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
    track.support += _out(stance) * 0.47 * keys(n, [2, 12, landed + 5, n - 3.0], [0.0, 1.0, 1.0, 0.0])
    if spec.direction == "forward":
        ahead = np.array([np.sin(state.heading), np.cos(state.heading)]) * rng.uniform(0.25, 0.4)
        track.foot[:, :, 0] += (progress * ahead[0])[:, None]
        track.foot[:, :, 2] += (progress * ahead[1])[:, None]
    _point_toes(track, (stance,), starts, air)
    track.spine[:, 1] = 0.1 * up + 0.12 * down
    for side in (0, 1):
        hang = split_reach(state.hang[side])
        wide = split_reach(np.array([0.5, -0.55, 0.25])) + [0.0, 0.1, 0.0, 0.0]
        track.hand[:, side] = hang + (up * (0.7 + 0.3 * fly))[:, None] * (wide - hang)
    return track


def stand(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Stand still: breathe, shift the weight a little, look around."""
    track = rest(rng.uniform(2.1, 4.0), state)
    n = track.frames
    middle = rng.uniform(0.35, 0.65) * n
    look = rng.uniform(-0.7, 0.7)
    track.head[:, 0] = look * keys(n, [4, middle - 4, middle + 4, n - 4], [0.0, 1.0, 1.0, 0.0])
    track.support += rng.uniform(-0.25, 0.25) * keys(n, [0, middle, n - 1], [0.0, 1.0, 0.0])
    return track


MAKERS: dict[str, Callable[[Spec, State, np.random.Generator], Track]] = {
    "walk": gait.walk,
    "run": gait.run,
    "jump": jump,
    "hop": hop,
    "kick": kick,
    "punch": punch,
    "throw": throw,
    "wave": wave,
    "clap": clap,
    "squat": squat,
    "bow": bow,
    "sit": sit,
    "turn": gait.turn_around,
    "raise_arms": raise_arms,
    "step_sideways": gait.step_sideways,
    "stand": stand,
    "march": gait.march,
    "crouch_walk": gait.crouch_walk,
    "walk_backwards": gait.walk_backwards,
}
