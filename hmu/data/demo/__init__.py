"""The embedded procedural data set: short clips of everyday actions, entirely our own.

``specs`` says what a clip shows; ``gait``, ``gestures``, ``leaps`` and ``strikes`` write it as control channels
(``track``) that ``solve`` turns into joints by inverse kinematics; ``phrases.yaml`` and ``grammar`` say it in words;
``build`` writes the folder.
"""

from hmu.data.demo.build import generate
from hmu.data.demo.specs import ACTIONS, Spec

__all__ = ["ACTIONS", "Spec", "generate"]
