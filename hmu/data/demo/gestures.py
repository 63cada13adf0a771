"""Actions on the spot: wave, clap, raise the arms, bow, squat, sit, stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hmu.data.demo.curves import FPS, Array, keys
from hmu.data.demo.specs import Spec
from hmu.data.demo.track import SIDES, State, Track, Vector, out_sign, rest


def wave(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Raise the hand to about head height or above and swing the forearm from side to side ``count`` times."""
    lead, beat = 0.5 + 0.2 * rng.random(), 0.46 * spec.pace
    track = rest(2 * lead + spec.count * beat + 0.15, state)
    n = track.frames
    height, width = 0.66 + 0.16 * spec.size, 0.26 + 0.07 * spec.size
    centre = 0.3 + rng.normal(0, 0.03)
    for side in SIDES[spec.side]:
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
    tilt = -sum(out_sign(side) for side in SIDES[spec.side])
    track.spine[:, 2] = -tilt * -0.06 * up
    track.support += tilt * 0.08 * up
    return track


def clap(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Hands meet in front of the chest ``count`` times."""
    lead, beat = 0.5, 0.36 * spec.pace
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
    via: Vector = (0.95, 0.0, 0.1) if spec.direction == "side" else (0.15, 0.0, 0.95)
    marks = [3, 3 + 0.5 * up * FPS, 3 + up * FPS, 3 + (up + hold) * FPS, n - 3 - 0.5 * up * FPS, n - 3]
    for side in SIDES[spec.side]:
        track.set_arm(side, marks, [None, via, top, top, via, None], state)
    level = keys(n, [marks[0], marks[2], marks[3], n - 3], [0.0, 1.0, 1.0, 0.0])
    track.spine[:, 1] = -0.08 * level
    track.head[:, 1] = -0.15 * level * rng.uniform(0, 2)
    if spec.side != "both":
        track.spine[:, 2] = out_sign(SIDES[spec.side][0]) * 0.07 * level
    return track


def _bent(spec: Spec, state: State, once: float, tail: float, shares: Sequence[float]) -> tuple[Track, Array]:
    """Go down, stay and rise ``count`` times: the track, and how far down (0..1) at each frame."""
    track = rest(0.3 + spec.count * once + tail, state)
    times, level = [0.0, 0.3 * FPS], [0.0, 0.0]
    for index in range(spec.count):
        begin = 0.3 + index * once
        times += [(begin + t * once) * FPS for t in shares]
        level += [1.0, 1.0, 0.0]
    return track, keys(track.frames, times, level)


def bow(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Bend the trunk forward from the hips with straight legs, hold, and straighten."""
    once = (1.9 if spec.count == 1 else 1.5) * spec.pace
    track, down = _bent(spec, state, once, 0.2, (0.38, 0.62, 0.99))
    angle = 1.1 + 0.3 * spec.size + rng.normal(0, 0.05)
    track.pelvis[:, 1], track.spine[:, 1] = 0.55 * angle * down, 0.45 * angle * down
    track.shift[:, 2] = -0.13 * angle * down
    track.head[:, 1] = 0.25 * down
    belly = rng.random() < 0.3
    for side in (0, 1):
        place = (-0.3, -0.45, 0.35) if belly and side == 0 else (0.1, -0.92, 0.3 * angle)
        track.lead_hand(side, down, place, state)
    return track


def squat(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Bend the knees until the hips are low over the feet, arms forward for balance, and rise again."""
    once = (1.5 if spec.count == 1 else 1.3) * spec.pace
    track, down = _bent(spec, state, once, 0.25, (0.42, 0.56, 0.99))
    depth = 0.5 + 0.08 * spec.size + rng.uniform(-0.02, 0.02)
    track.height[:] = 1 - depth * down
    track.shift[:, 2] = -0.17 * down
    track.pelvis[:, 1], track.spine[:, 1] = 0.4 * down, 0.3 * down
    track.head[:, 1] = -0.4 * down
    for side in (0, 1):
        track.lead_hand(side, down, (0.0, 0.05, 0.93), state)
    return track


def sit(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Sit down on an unseen chair (hips back and low, thighs level); direction ``up`` stands up again."""
    down_time = 1.1 * spec.pace
    hold = rng.uniform(0.9, 1.4)
    rises = spec.direction == "up"
    track = rest(0.35 + down_time + hold + (down_time + 0.25 if rises else 0.0), state)
    n = track.frames
    begin, seated, up = 0.35 * FPS, (0.35 + down_time) * FPS, (0.35 + down_time + hold) * FPS
    times, lean = [begin, (begin + seated) / 2, seated], [0.0, 0.55, 0.08]
    if rises:
        seat = keys(n, [begin, seated, up, n - 5.0], [0.0, 1.0, 1.0, 0.0])
        bend = keys(n, [*times, up, (up + n) / 2, n - 4.0], [*lean, *lean[::-1]])
    else:
        seat, bend = keys(n, [begin, seated, n - 1.0], [0.0, 1.0, 1.0]), keys(n, times, lean)
    track.height[:] = 1 - (0.46 + rng.uniform(-0.02, 0.02)) * seat
    track.shift[:, 2] = -0.40 * seat
    track.pelvis[:, 1], track.spine[:, 1] = 0.6 * bend - 0.1 * seat, 0.5 * bend
    for side in (0, 1):
        track.lead_hand(side, seat, (-0.05, -0.6, 0.5), state)
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
