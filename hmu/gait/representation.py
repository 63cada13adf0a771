"""The 63 columns of a gait window as a representation: a stick figure with force arrows, judged by rules of style."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from hmu.gait.columns import FEATURES, FPS
from hmu.gait.figure import EDGES, NAMES, SIDES, gait_stick_figure
from hmu.gait.rules import RULES
from hmu.motion.representation import Named, Representation
from hmu.motion.stick import Figure, Stick

LIMB = 0.07  # metres: how thick every limb is drawn


class GaitColumns(Representation):
    """Joint angles, root motion and ground reaction forces at 100 Hz (Tan et al. 2025); without captions."""

    stick: Stick = Stick(len(NAMES), EDGES, FPS, (LIMB,) * len(EDGES), SIDES, NAMES.index("head"))
    captioned = False
    rules = tuple(RULES)

    def figure(self, motion: Tensor) -> Figure:
        """A body of average height with the forces of its feet."""
        return gait_stick_figure(motion)

    def rule(self, concept: Named) -> str | None:
        """The rule of style that the concept's keywords name."""
        return next((name for name in RULES if concept.find(name.replace("_", " "))), None)

    def detect(self, rules: Iterable[str], motion: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """As there; windows are whole, so lengths are not read."""
        return {rule: RULES[rule](motion) for rule in rules}


GAIT = GaitColumns("gait", FEATURES, FPS)
"""63 columns at 100 Hz."""
