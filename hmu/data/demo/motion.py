"""From specs to joints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hmu.data.demo import gait, gestures, leaps, strikes
from hmu.data.demo.body import Body
from hmu.data.demo.curves import Array, drift, smooth
from hmu.data.demo.solve import solve
from hmu.data.demo.specs import ACTIONS, Spec, sample_clip, sample_spec
from hmu.data.demo.track import State, Track, join, rest, start_state

Maker = Callable[[Spec, State, np.random.Generator], Track]
#: a function of the action's name makes a track that starts (and, but for sitting down, ends) standing
MAKERS: dict[str, Maker] = {
    action: next(getattr(module, action) for module in (gait, gestures, leaps, strikes) if hasattr(module, action))
    for action in ACTIONS
}


def plan(specs: Sequence[Spec], rng: np.random.Generator) -> Track:
    """The control channels of a performer who does ``specs`` one after the other, facing +z at first."""
    state = start_state(rng)
    hang = state.hang
    tracks = [rest(rng.uniform(0.1, 0.3), state)]
    for spec in specs:
        tracks.append(MAKERS[spec.action](spec, state, rng))
        state = tracks[-1].end_state(hang)
    return join(tracks)


def sample_plan(action: str, rng: np.random.Generator, most: int) -> tuple[tuple[Spec, ...], Track]:
    """Random specs with ``action`` among them, redrawn until the plan has at most ``most`` frames."""
    for _ in range(20):
        specs = sample_clip(action, rng)
        track = plan(specs, rng)
        if track.frames <= most:
            return specs, track
    specs = (sample_spec(action, rng, short=True),)
    return specs, plan(specs, rng)


def perform(track: Track, body: Body, rng: np.random.Generator, *, least: int, most: int) -> Array:
    """Joints ``(frames, 22, 3)`` in metres; the last pose is held, or the plan cut: ``least`` to ``most`` frames."""
    track = _fit(track, least, most)
    _enliven(track, rng)
    return solve(body, track)


def _fit(track: Track, least: int, most: int) -> Track:
    """Hold the last pose, or cut, so that ``least <= frames <= most``."""
    n = track.frames
    index = np.minimum(np.arange(min(max(n, least), most)), n - 1)
    return Track(**{name: value[index] for name, value in vars(track).items()})


def _enliven(track: Track, rng: np.random.Generator) -> None:
    """Soften the joints between actions and add breathing, sway and small differences that make each clip its own."""
    n = track.frames
    for name in ("hand", "elbow", "air", "spine", "pelvis", "head", "height", "shift", "support"):
        setattr(track, name, smooth(getattr(track, name), 0.7))
    noise = drift(rng, n, 14, 1.0)
    track.spine += noise[:, 0:3] * [0.012, 0.012, 0.01]
    track.pelvis += noise[:, 3:6] * [0.01, 0.006, 0.006]
    track.head += noise[:, 6:8] * [0.06, 0.03]
    track.support += noise[:, 8] * 0.03
    for side in (0, 1):
        track.hand[:, side, :3] += noise[:, 9 + 2 * side : 11 + 2 * side] @ np.array([[0.015, 0, 0.0], [0, 0, 0.022]])
