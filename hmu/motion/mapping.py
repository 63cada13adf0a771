"""From a source skeleton to ours: which weighted sum of source joints stands for each target joint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hmu.errors import ConfigError, DataError
from hmu.motion.bvh import Bvh
from hmu.motion.features import face_forward
from hmu.motion.skeleton import T2M

Array = NDArray[np.float64]


@dataclass(frozen=True)
class JointMapping:
    """How one family of source files becomes the 22 joints; one YAML in ``configs/bvh_mapping`` each.

    Attributes:
        name: short name.
        unit: metres per file unit (0.01 for centimetres).
        up: the file's vertical axis, ``y`` or ``z`` (right-handed in both cases).
        joints: target joint -> source joint, or source joint -> weight (weights sum to 1). A source name also matches
            behind a namespace (``mixamorig:Hips``).
    """

    name: str
    unit: float
    joints: Mapping[str, str | Mapping[str, float]]
    up: str = "y"

    def __post_init__(self) -> None:
        if self.up not in ("y", "z"):
            raise ConfigError(f"mapping {self.name}: up is 'y' or 'z', got '{self.up}'")
        if not self.unit > 0:
            raise ConfigError(f"mapping {self.name}: unit is metres per file unit, above 0; got {self.unit}")
        wrong = set(self.joints) ^ set(T2M.joint_names)
        if wrong:
            raise ConfigError(f"mapping {self.name}: joints missing or unknown: {', '.join(sorted(wrong))}")
        for target, source in self.joints.items():
            if not isinstance(source, str) and abs(sum(source.values()) - 1.0) > 1e-6:
                raise ConfigError(f"mapping {self.name}: weights of {target} must sum to 1, got {dict(source)}")

    def weights(self, names: Sequence[str]) -> Array:
        """Matrix ``(22, source joints)``; DataError naming the joints that the file lacks."""
        index = {name.rpartition(":")[2]: position for position, name in enumerate(names)}
        index |= {name: position for position, name in enumerate(names)}
        matrix = np.zeros((T2M.joints, len(names)))
        missing: set[str] = set()
        for row, target in enumerate(T2M.joint_names):
            source = self.joints[target]
            for name, weight in ({source: 1.0} if isinstance(source, str) else source).items():
                if name in index:
                    matrix[row, index[name]] += weight
                else:
                    missing.add(name)
        if missing:
            raise DataError(
                f"no joint {', '.join(sorted(missing))} for mapping '{self.name}' (the file has: {', '.join(names)}); "
                "choose or write another mapping"
            )
        return matrix

    def apply(self, clip: Bvh, fps: Fraction | float = 20) -> Array:
        """The 22 joints of a clip: metres, y up, lowest joint at 0, starting at the origin and facing +z.

        Args:
            clip: a BVH file.
            fps: rate of the result.

        Returns:
            ``(floor((T - 1) * fps / source fps) + 1, 22, 3)`` float64.
        """
        joints = self.weights(clip.names) @ clip.joints(fps) * self.unit
        if self.up == "z":
            joints = np.stack([joints[..., 0], joints[..., 2], -joints[..., 1]], axis=-1)
        return face_forward(joints, T2M)
