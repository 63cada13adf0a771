"""The two skeletons of the field as data: joints, chains, raw bone axes, contacts, units, rate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hmu.motion.layout import FeatureLayout

_AXES = {"+x": (1, 0, 0), "-x": (-1, 0, 0), "+y": (0, 1, 0), "-y": (0, -1, 0), "+z": (0, 0, 1), "0": (0, 0, 0)}


@dataclass(frozen=True)
class Skeleton:
    """A fixed skeleton. World axes: x = the person's left, y = up, z = the direction faced at the first frame.

    Attributes:
        joint_names: one per joint, joint 0 is the root.
        chains: kinematic chains of joint indices, parents before children.
        axes: raw unit direction of the bone ending at each joint, as words (``+x`` .. ``-z``; ``0`` for the root).
        facing: right hip, left hip, right shoulder, left shoulder: what the heading is computed from.
        contacts: left ankle, left toe, right ankle, right toe: order of the four contact columns.
        retarget_bones: the two leg bones (their end joints) whose summed length scales the root when retargeting.
        mirror_pairs: (right, left) joints exchanged by mirroring.
        fps, units_to_metres: of the published data; the stored unit is a metre or a millimetre.
        contact_threshold: squared displacement per frame, in squared stored units, below which a foot is in contact.
    """

    name: str
    joint_names: tuple[str, ...]
    chains: tuple[tuple[int, ...], ...]
    axes: tuple[str, ...]
    facing: tuple[int, int, int, int]
    contacts: tuple[int, int, int, int]
    retarget_bones: tuple[int, int]
    mirror_pairs: tuple[tuple[int, int], ...]
    fps: float
    units_to_metres: float
    contact_threshold: float

    @property
    def joints(self) -> int:
        """Number of joints."""
        return len(self.joint_names)

    @property
    def layout(self) -> FeatureLayout:
        """Named columns of this skeleton's feature rows."""
        return FeatureLayout(self.joints)

    @property
    def features(self) -> int:
        """Columns of a feature row (263 or 251)."""
        return self.layout.dims

    @cached_property
    def parents(self) -> tuple[int, ...]:
        """Parent of each joint, -1 for the root."""
        parents = [-1] * self.joints
        for chain in self.chains:
            for parent, child in pairwise(chain):
                parents[child] = parent
        return tuple(parents)

    @cached_property
    def chain_previous(self) -> tuple[int, ...]:
        """The joint whose rotation is a joint's rotation parent *within its chain*; 0 (the root) at a chain's start.

        Differs from ``parents`` only for the first arm bone, which is stored relative to the root.
        """
        previous = [-1] * self.joints
        for chain in self.chains:
            for position in range(1, len(chain)):
                previous[chain[position]] = 0 if position == 1 else chain[position - 1]
        return tuple(previous)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """All joints but the root, parents before children."""
        return tuple(joint for chain in self.chains for joint in chain[1:])

    @cached_property
    def raw_axes(self) -> NDArray[np.float64]:
        """Unit raw axis of each joint's bone, ``(joints, 3)``; zero for the root."""
        axes = np.array([_AXES[axis] for axis in self.axes], dtype=np.float64)
        axes.setflags(write=False)
        return axes

    def index(self, joint: str) -> int:
        """Index of a joint by name."""
        return self.joint_names.index(joint)


T2M = Skeleton(
    name="t2m",
    joint_names=(
        *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle"),
        *("right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head"),
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    ),
    chains=((0, 2, 5, 8, 11), (0, 1, 4, 7, 10), (0, 3, 6, 9, 12, 15), (9, 14, 17, 19, 21), (9, 13, 16, 18, 20)),
    axes=(
        *("0", "+x", "-x", "+y", "-y", "-y", "+y", "-y", "-y", "+y", "+z", "+z", "+y", "+x", "-x", "+z"),
        *("-y", "-y", "-y", "-y", "-y", "-y"),
    ),
    facing=(2, 1, 17, 16),
    contacts=(7, 10, 8, 11),
    retarget_bones=(5, 8),
    mirror_pairs=((2, 1), (5, 4), (8, 7), (11, 10), (14, 13), (17, 16), (19, 18), (21, 20)),
    fps=20.0,
    units_to_metres=1.0,
    contact_threshold=0.002,
)
"""The 22 SMPL body joints of HumanML3D: metres, 20 fps, 263 columns."""

KIT = Skeleton(
    name="kit",
    joint_names=(
        *("root", "pelvis", "thorax", "neck", "head", "right_shoulder", "right_elbow", "right_wrist"),
        *("left_shoulder", "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "right_heel"),
        *("right_foot", "left_hip", "left_knee", "left_ankle", "left_heel", "left_foot"),
    ),
    chains=((0, 11, 12, 13, 14, 15), (0, 16, 17, 18, 19, 20), (0, 1, 2, 3, 4), (3, 5, 6, 7), (3, 8, 9, 10)),
    axes=(
        *("0", "+y", "+y", "+y", "+y", "+x", "-y", "-y", "-x", "-y", "-y", "+x", "-y", "-y", "+z", "+z"),
        *("-x", "-y", "-y", "+z", "+z"),
    ),
    facing=(11, 16, 5, 8),
    contacts=(19, 20, 14, 15),
    retarget_bones=(17, 18),
    mirror_pairs=((5, 8), (6, 9), (7, 10), (11, 16), (12, 17), (13, 18), (14, 19), (15, 20)),
    fps=12.5,
    units_to_metres=0.001,
    contact_threshold=0.05,
)
"""The 21 joints of KIT-ML: millimetres, 12.5 fps, 251 columns.

Sides follow the published facing and contact lists (joints 11-15 right), although the raw axes of those joints point
to +x; the two conventions are the authors' and are needed together to match their data.
"""

SKELETONS: tuple[Skeleton, ...] = (T2M, KIT)
