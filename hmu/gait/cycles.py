"""Gait cycles: from one strike of a foot to its next, on a common scale of 0 to 100 %."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.gait.columns import FPS, OSIM
from hmu.gait.states import to_osim
from hmu.gait.statistics import strikes

POINTS = 101
SHORTEST, LONGEST = 40, 200  # frames at 100 Hz: what can be one stride of an adult
#: joint angles of one leg, in the order in which they are plotted; ``_r`` or ``_l`` follows
LEG = ("hip_flexion", "hip_adduction", "knee_angle", "ankle_angle")


@dataclass(frozen=True)
class Cycles:
    """Cycles of both legs together.

    Attributes:
        curves: by name (:data:`LEG` in degrees; ``force_x``, ``force_y`` in body weights) ``(cycles, 101)``.
        window: which window each cycle came from ``(cycles,)``. seconds: how long each lasted.
    """

    curves: dict[str, NDArray[np.float64]]
    window: NDArray[np.int64]
    seconds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.window)


def gait_cycles(windows: Tensor) -> Cycles:
    """Whole cycles of windows ``(batch, frames, 63)`` in real units, of the right and the left leg.

    A cycle is what lies between two strikes of one foot that are 0.4 to 2 s apart; the body's height does not matter.
    """
    states = windows.double()
    coordinates = to_osim(states, torch.ones(len(states), dtype=states.dtype)).numpy()
    hits = strikes(states).numpy()
    names = [*LEG, "force_x", "force_y"]
    pieces: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
    window, seconds = [], []
    for foot, side in enumerate("rl"):
        picks = [OSIM.index(f"{name}_{side}") for name in LEG]
        picks += [OSIM.index(f"calcn_{side}_force_v{axis}") for axis in "xy"]
        scales = np.array([180 / np.pi] * len(LEG) + [1 / 9.81] * 2)
        for number, (first, last) in _strides(hits[:, :, foot]):
            piece = coordinates[number, first : last + 1, picks] * scales[:, None]
            even = np.linspace(0, last - first, POINTS)
            for name, values in zip(names, piece, strict=True):
                pieces[name].append(np.interp(even, np.arange(last - first + 1), values))
            window.append(number)
            seconds.append((last - first) / FPS)
    curves = {name: np.array(rows).reshape(-1, POINTS) for name, rows in pieces.items()}
    return Cycles(curves, np.array(window, dtype=np.int64), np.array(seconds))


def _strides(hits: NDArray[np.bool_]) -> list[tuple[int, tuple[int, int]]]:
    """``(window, (first, last))`` of all strides of one foot; ``hits`` ``(batch, frames)``."""
    window, frame = np.nonzero(hits)
    together = window[1:] == window[:-1]
    length = frame[1:] - frame[:-1]
    good = np.flatnonzero(together & (length >= SHORTEST) & (length <= LONGEST))
    return [(int(window[i]), (int(frame[i]), int(frame[i + 1]))) for i in good]
