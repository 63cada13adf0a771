"""What is said and recorded of generated gait: how near a recording, how fast, which style."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from hmu.gait import columns
from hmu.gait.rules import styles
from hmu.gait.states import to_osim
from hmu.gait.statistics import GRAVITY, statistics
from hmu.gait.trial import Trial
from hmu.metrics.gait_consistency import stance_speed

log = logging.getLogger(__name__)

Group = tuple[str, float | None, list[Trial]]  #: name, asked speed, its windows


def quality(trial: Trial, states: NDArray[np.float64], known: str) -> dict[str, float]:
    """Errors of generated columns ``(frames, 63)`` against a recording, over its frames that are not missing.

    ``kinematics`` known: root mean square and correlation of vertical and forward forces (body weights) of both feet.
    ``forces`` known: root mean square of hip, knee and ankle flexion (degrees), error of the mean speed (m/s).
    """
    keep = ~trial.missing
    errors: dict[str, float] = {}
    if not keep.any():
        return errors
    if known == "kinematics":
        for name, axis in (("vertical force", "y"), ("forward force", "x")):
            picks = columns.states([f"calcn_{side}_force_v{axis}" for side in "rl"])
            ours, true = (x[keep][:, picks].ravel() / GRAVITY for x in (states, trial.states))
            errors[f"{name} error (body weights)"] = float(np.sqrt(((ours - true) ** 2).mean()))
            if ours.std() > 0 and true.std() > 0:
                errors[f"{name} correlation"] = float(np.corrcoef(ours, true)[0, 1])
        return errors
    ours, true = (to_osim(torch.from_numpy(x), trial.height).numpy()[keep] for x in (states, trial.states))
    for name in ("hip_flexion", "knee_angle", "ankle_angle"):
        picks = columns.osim([f"{name}_{side}" for side in "rl"])
        errors[f"{name} error (degrees)"] = float(np.rad2deg(np.sqrt(((ours - true)[:, picks] ** 2).mean())))
    forward = columns.ROOT_COLUMNS[0]
    errors["speed error (m/s)"] = float((states[keep, forward] - trial.states[keep, forward]).mean() * trial.height)
    return errors


def measured(trial: Trial) -> dict[str, float | None]:
    """Statistics of a trial; None where it has none (cadence without two strikes)."""
    states = torch.from_numpy(trial.states)[None]
    numbers = statistics(states, trial.height) | {"stance_speed": stance_speed(states, trial.height)}
    return {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}


def style_of(trial: Trial) -> str:
    """The style that the kinematic rules see."""
    return next(name for name, members in styles(torch.from_numpy(trial.states)[None]).items() if bool(members))


def log_speeds(groups: Sequence[Group]) -> None:
    """Log how well asked speeds were met, by the pelvis' path and by standing feet; slope and error of a sweep."""
    of_speed = [(speed, [measured(trial) for trial in trials]) for _, speed, trials in groups if speed is not None]
    if not of_speed:
        return
    asked = np.array([speed for speed, _ in of_speed])
    reached = {
        name: np.array([np.mean([np.nan if m[key] is None else m[key] for m in windows]) for _, windows in of_speed])
        for name, key in (("pelvis", "speed"), ("legs", "stance_speed"))
    }
    for speed, pelvis, legs in zip(asked, *reached.values(), strict=True):
        log.info("asked for %.2f m/s: pelvis %.3f m/s, legs %.3f m/s", speed, pelvis, legs)
    for name, mean in reached.items() if len(of_speed) > 1 else ():
        slope, error = float(np.polyfit(asked, mean, 1)[0]), float(np.abs(mean - asked).mean())
        log.info("%s: slope %.3f, mean absolute error %.3f m/s", name, slope, error)
