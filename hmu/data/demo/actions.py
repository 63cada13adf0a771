"""Which function makes which action."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hmu.data.demo import gait, gestures, leaps, postures, strikes
from hmu.data.demo.specs import Spec
from hmu.data.demo.track import State, Track

MAKERS: dict[str, Callable[[Spec, State, np.random.Generator], Track]] = {
    "walk": gait.walk,
    "run": gait.run,
    "jump": leaps.jump,
    "hop": leaps.hop,
    "kick": strikes.kick,
    "punch": strikes.punch,
    "throw": strikes.throw,
    "wave": gestures.wave,
    "clap": gestures.clap,
    "squat": postures.squat,
    "bow": gestures.bow,
    "sit": postures.sit,
    "turn": gait.turn_around,
    "raise_arms": gestures.raise_arms,
    "step_sideways": gait.step_sideways,
    "stand": postures.stand,
    "march": gait.march,
    "crouch_walk": gait.crouch_walk,
    "walk_backwards": gait.walk_backwards,
}
