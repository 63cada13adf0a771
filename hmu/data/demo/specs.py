"""What a clip shows, in words: the ground truth from which motion and captions are both made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

ACTIONS: tuple[str, ...] = (
    *("walk", "run", "jump", "hop", "kick", "punch", "throw", "wave", "clap", "squat", "bow", "sit", "turn"),
    *("raise_arms", "step_sideways", "stand", "march", "crouch_walk", "walk_backwards"),
)
TRAVELS = ("walk", "run", "jump", "hop", "turn", "step_sideways", "march", "crouch_walk", "walk_backwards")
FAST_FACTOR = {"slow": 1.3, "normal": 1.0, "fast": 0.76}


@dataclass(frozen=True)
class Spec:
    """One action of a clip.

    Attributes:
        side: ``left``, ``right``, ``both`` or empty: the limb (or, for turns and side steps, the way).
        speed, amplitude: ``slow``, ``normal`` or ``fast``; ``low``, ``normal`` or ``high``.
        direction: ``forward``, ``left``, ``right``, ``back``, ``spot`` or empty.
        count: repetitions (kicks, waves, steps); for a turn the angle in degrees.
    """

    action: str
    side: str = ""
    speed: str = "normal"
    amplitude: str = "normal"
    direction: str = ""
    count: int = 1

    @property
    def pace(self) -> float:
        """Factor on durations: above 1 is slower."""
        return FAST_FACTOR[self.speed]

    @property
    def size(self) -> float:
        """-1 for low, 0 for normal, 1 for high amplitude."""
        return {"low": -1.0, "normal": 0.0, "high": 1.0}[self.amplitude]


def _pick(rng: np.random.Generator, options: str, weights: tuple[float, ...] | None = None) -> str:
    words = options.split()
    return words[int(rng.choice(len(words), p=weights))]


def sample_spec(action: str, rng: np.random.Generator, *, short: bool = False) -> Spec:
    """A random ``Spec`` of an action; ``short`` limits repetitions (used inside two-action clips)."""
    speed = _pick(rng, "slow normal fast", (0.2, 0.6, 0.2))
    size = _pick(rng, "low normal high", (0.2, 0.5, 0.3))
    hand = _pick(rng, "left right")
    few = 1 if short else int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    if few == 3 and speed == "slow":
        speed = "normal"
    drawn = Spec(action, hand, speed, size, "", few)  # for every action, whatever it needs of them
    return (_travel if action in TRAVELS else _gesture)(drawn, rng, short)


def _travel(drawn: Spec, rng: np.random.Generator, short: bool) -> Spec:
    action, hand, speed, size, few = drawn.action, drawn.side, drawn.speed, drawn.amplitude, drawn.count
    if action == "march":
        steps = 4 if short else int(rng.integers(4, 8))
        return Spec(action, "", speed, size, _pick(rng, "spot forward"), steps)
    if action == "step_sideways":
        return Spec(action, hand, speed, "normal", hand, few if short else int(rng.integers(1, 5)))
    if action == "turn":
        angle = int(rng.choice([90, 180, 360], p=[0.35, 0.5, 0.15])) if not short else int(rng.choice([90, 180]))
        return Spec(action, hand, speed, "normal", "spot" if short else _pick(rng, "spot spot forward"), angle)
    if action == "jump":
        return Spec(action, "", "normal", size, _pick(rng, "spot forward forward"), few)
    if action == "hop":
        return Spec(action, hand, "normal", size, _pick(rng, "spot forward"), 2 if short else int(rng.integers(2, 5)))
    steps = int(rng.integers(3, 5)) if short else int(rng.integers(4, 8))
    ways = "forward forward left right" if action in ("walk", "run") else "forward"
    return Spec(action, "", speed, "normal", "back" if action == "walk_backwards" else _pick(rng, ways), steps)


def _gesture(drawn: Spec, rng: np.random.Generator, short: bool) -> Spec:
    action, hand, few = drawn.action, drawn.side, drawn.count
    if action == "kick":
        way = _pick(rng, "forward left right back", (0.74, 0.09, 0.09, 0.08))
        if way in ("left", "right"):
            return replace(drawn, side=way, direction="side")
        return replace(drawn, amplitude="high" if way == "back" else drawn.amplitude, direction=way)
    if action == "punch":
        return replace(drawn, side="both" if few >= 2 and rng.random() < 0.4 else hand, direction="forward")
    if action == "throw":
        return replace(drawn, direction="forward", count=1)
    if action in ("wave", "raise_arms"):
        side = _pick(rng, "left right both", (0.4, 0.4, 0.2) if action == "wave" else (0.2, 0.2, 0.6))
        way = _pick(rng, "forward side") if action == "raise_arms" else ""
        repeats = int(rng.integers(2, 4 if short else 6)) if action == "wave" else 1
        return replace(drawn, side=side, direction=way, count=repeats)
    if action == "clap":
        return replace(drawn, side="both", count=int(rng.integers(2, 4 if short else 7)))
    if action in ("squat", "bow"):
        return replace(drawn, side="", count=min(few, 2 if action == "bow" else 3))
    if action == "sit":
        return Spec(action, "", drawn.speed, "normal", "up" if short or rng.random() < 0.5 else "down", 1)
    return Spec("stand")


def sample_clip(action: str, rng: np.random.Generator) -> tuple[Spec, ...]:
    """The specs of a clip whose *main* action is ``action``; about one clip in five gets a second action."""
    if rng.random() >= 0.22 or action == "stand":
        return (sample_spec(action, rng),)
    others = [a for a in ACTIONS if a not in (action, "stand", "sit")]
    other = str(others[int(rng.integers(len(others)))])
    first, second = (action, other) if action == "sit" or rng.random() < 0.5 else (other, action)
    specs = [sample_spec(first, rng, short=True), sample_spec(second, rng, short=True)]
    if second == "sit":
        specs[1] = Spec("sit", "", specs[1].speed, "normal", "down", 1)
    return tuple(specs)
