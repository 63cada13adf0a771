"""Named columns of the HumanML3D / KIT-ML feature vector (263 and 251 numbers per frame)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hmu.errors import DataError


@dataclass(frozen=True)
class FeatureLayout:
    """Where each quantity sits in a feature row of a skeleton with ``joints`` joints (Guo et al., CVPR 2022).

    A row has ``12 * joints - 1`` columns: 263 for 22 joints, 251 for 21. All are plain slices, so that
    ``features[..., layout.root_height]`` works on numpy arrays and torch tensors alike.
    """

    joints: int

    @classmethod
    def of(cls, features: int) -> FeatureLayout:
        """The layout of ``features`` columns; DataError if no joint count gives that width."""
        if features < 23 or (features + 1) % 12:
            raise DataError(f"a feature row has 12 * joints - 1 columns (263 or 251), got {features}")
        return cls((features + 1) // 12)

    @property
    def dims(self) -> int:
        """Number of columns."""
        return 12 * self.joints - 1

    root_yaw: ClassVar[slice] = slice(0, 1)  #: half of the yaw step t -> t+1, radians
    root_velocity: ClassVar[slice] = slice(1, 3)  #: root displacement t -> t+1 along x, z in the facing frame of t+1
    root_height: ClassVar[slice] = slice(3, 4)  #: height of the root above the ground
    root: ClassVar[slice] = slice(0, 4)  #: these four columns together

    @property
    def positions(self) -> slice:
        """Joints 1.. in the facing frame, root x, z removed: ``(joints - 1) * 3`` columns."""
        return slice(4, 4 + 3 * (self.joints - 1))

    @property
    def rotations(self) -> slice:
        """Local 6D rotation of the bone ending at joints 1..: ``(joints - 1) * 6`` columns."""
        return slice(self.positions.stop, self.positions.stop + 6 * (self.joints - 1))

    @property
    def velocities(self) -> slice:
        """Displacement t -> t+1 of joints 0.. in the facing frame of t: ``joints * 3`` columns."""
        return slice(self.rotations.stop, self.rotations.stop + 3 * self.joints)

    @property
    def contacts(self) -> slice:
        """Foot contact flags: left ankle, left toe, right ankle, right toe (4 columns)."""
        return slice(self.dims - 4, self.dims)

    @property
    def groups(self) -> tuple[tuple[str, slice], ...]:
        """The seven column groups in order, by name; together they cover every column once."""
        names = ("root_yaw", "root_velocity", "root_height", "positions", "rotations", "velocities", "contacts")
        return tuple((name, getattr(self, name)) for name in names)
