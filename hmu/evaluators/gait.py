"""A fixed feature set for gait windows: nothing is learned, so that distances mean the same on every data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hmu.data.batch import length_mask
from hmu.data.captions import Caption
from hmu.data.concepts import Concept
from hmu.errors import DataError
from hmu.evaluators.base import Evaluator
from hmu.gait import columns
from hmu.gait.columns import FPS
from hmu.gait.rotations import to_euler
from hmu.gait.states import joint_matrices
from hmu.gait.statistics import GRAVITY, loads

POINTS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of a signal's distribution over both sides and all frames
#: signals of both sides, and what counts as one unit of their values and of their rates of change per second
PAIRS = {
    "knee": (10.0, 100.0),  # degrees
    "ankle": (10.0, 100.0),
    "hip": (10.0, 100.0),
    "vertical": (0.2, 3.0),  # body weights
    "forward": (0.05, 1.0),
}
#: signals of the trunk, with what counts as one unit
SINGLES = {"speed": 0.3, "rise": 0.1, "tilt": 5.0, "lean": 5.0, "load": 0.2}
NAMES = (
    *(f"{name} {part}" for name in PAIRS for part in (*(f"{100 * p:.0f} %" for p in POINTS), "rate")),
    *(f"{name} {part}" for name in SINGLES for part in ("mean", "deviation")),
    "knees together",
    "loads together",
)


class GaitFeatures(Evaluator):
    """Points of the distribution of joint angles and forces over a window, means, deviations, and how the sides go
    together: where in a stride a window begins leaves hardly any trace.

    Every feature is divided by a fixed unit (:data:`PAIRS`, :data:`SINGLES`; correlations by 0.5), so that a squared
    distance counts units of what a clinician would call a visible difference.

    Args:
        height: metres of the body that speeds are told for (states hold speed / height).
    """

    name = "gait features"
    features = len(columns.STATES)

    def __init__(self, height: float) -> None:
        super().__init__()
        self.height, self.width = float(height), len(NAMES)
        units = [unit for value, rate in PAIRS.values() for unit in (*(value,) * len(POINTS), rate)]
        units += [unit for unit in SINGLES.values() for _ in range(2)] + [0.5, 0.5]
        self.units = nn.Parameter(torch.tensor(units), requires_grad=False)

    def embed_motion(self, motion: Tensor, lengths: Tensor) -> Tensor:
        """Windows ``(batch, frames, 63)`` in real units -> ``(batch, width)``, in the order of :data:`NAMES`."""
        valid = length_mask(lengths, motion.shape[1]).to(motion.device)
        pairs, singles = self.signals(motion)
        # beyond its length a window says nothing: NaN is left out of every statistic below
        blank = torch.where(valid, 0.0, torch.nan).to(motion)
        pairs, singles = pairs + blank[:, None, :, None], singles + blank[:, None]
        points = pairs.flatten(2).nanquantile(pairs.new_tensor(POINTS), dim=-1).movedim(0, -1)
        rates = (pairs.diff(dim=2) * FPS).square().nanmean((2, 3)).sqrt()
        middle = singles.nanmean(-1)
        spread = (singles - middle[..., None]).square().nanmean(-1).sqrt()
        knees, vertical = (pairs[:, list(PAIRS).index(name)] for name in ("knee", "vertical"))
        together = torch.stack([_correlation(knees), _correlation(vertical)], -1)
        parts = [torch.cat([points, rates[..., None]], -1), torch.stack([middle, spread], -1)]
        return torch.cat([*(part.flatten(1) for part in parts), together], -1) / self.units

    def signals(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Signals of both sides ``(batch, 5, frames, 2)`` and of the trunk ``(batch, 5, frames)``."""
        angles = torch.rad2deg(to_euler(joint_matrices(states)))
        joints = list(columns.JOINTS_3D)
        hips = angles[..., [joints.index("hip_r"), joints.index("hip_l")], 0]
        legs = [
            torch.rad2deg(states[..., columns.states([f"{name}_angle_r", f"{name}_angle_l"])])
            for name in ("knee", "ankle")
        ]
        vertical = loads(states)
        forward = states[..., columns.states(["calcn_r_force_vx", "calcn_l_force_vx"])] / GRAVITY
        root = states[..., columns.ROOT_COLUMNS] * self.height
        tilt, lean = (angles[..., joints.index(name), 0] for name in ("pelvis", "lumbar"))
        pairs = torch.stack([*legs, hips, vertical, forward], 1)
        return pairs, torch.stack([root[..., 0], root[..., 1], tilt, lean, vertical.sum(-1)], 1)

    def embed_text(self, captions: Sequence[Caption]) -> Tensor:
        """Gait has no captions. Raises :class:`DataError`."""
        raise DataError("evaluator=gait embeds windows of gait only, no captions; leave text metrics out of the suite")

    def embed_text_masked(
        self, captions: Sequence[Caption], concept: Concept, definition: str = "clean"
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`embed_text`."""
        return self.embed_text(captions), torch.zeros(len(captions), dtype=torch.bool)

    @property
    def fingerprint(self) -> str:
        """Identity of the features and their units."""
        facts = [NAMES, self.units.tolist(), self.height]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _correlation(sides: Tensor) -> Tensor:
    """Correlation ``(batch,)`` of the two sides ``(batch, frames, 2)``; 0 where one of them stands still."""
    centred = sides - sides.nanmean(1, keepdim=True)
    a, b = centred.unbind(-1)
    size = (a.square().nanmean(-1) * b.square().nanmean(-1)).sqrt()
    return (a * b).nanmean(-1) / size.clamp(min=1e-6)
