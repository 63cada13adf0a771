"""Postures: squat, sit, stand.

Each public function returns a track that starts (and, but for sitting down, ends) standing.
"""

from __future__ import annotations

import numpy as np

from hmu.data.demo.curves import FPS, keys
from hmu.data.demo.specs import Spec
from hmu.data.demo.track import State, Track, rest, split_reach


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


def stand(spec: Spec, state: State, rng: np.random.Generator) -> Track:
    """Stand still: breathe, shift the weight a little, look around."""
    track = rest(rng.uniform(2.1, 4.0), state)
    n = track.frames
    middle = rng.uniform(0.35, 0.65) * n
    look = rng.uniform(-0.7, 0.7)
    track.head[:, 0] = look * keys(n, [4, middle - 4, middle + 4, n - 4], [0.0, 1.0, 1.0, 0.0])
    track.support += rng.uniform(-0.25, 0.25) * keys(n, [0, middle, n - 1], [0.0, 1.0, 0.0])
    return track
