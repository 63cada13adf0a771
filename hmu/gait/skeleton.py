"""Where joints are: forward kinematics of the generic OpenSim leg model from its 23 coordinates.

Source: the frames of an OpenSim model (Rajagopal et al. 2016): every joint has a frame in its parent and one in its
child; the knee slides and turns as it bends ("walker knee"), by polynomials of its angle.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmu.gait import columns
from hmu.gait.rotations import about, from_euler

JOINTS = ("pelvis", *(f"{joint}_{side}" for side in "rl" for joint in ("hip", "knee", "ankle", "calcn", "mtp")))
FEET = tuple(f"{joint}_{side}" for side in "rl" for joint in ("calcn", "mtp"))
SEGMENTS = (
    "pelvis",
    *(f"{segment}_{side}" for side in "rl" for segment in ("femur", "tibia", "talus", "calcn")),
    "torso",
)
FRAMES = 20  # per leg: hip, knee, ankle, subtalar (parent, child) and toe (parent); then lumbar (parent, child)
_LEG = 9

# Winter 2009, table 4.1: segment lengths as shares of body height
THIGH, SHANK, ANKLE_HEIGHT, HIP_HALF_WIDTH = 0.245, 0.246, 0.039, 0.052
HIP_BELOW_PELVIS, HEEL_TO_TOE, HEEL_BEHIND_ANKLE, TORSO_ABOVE_PELVIS = 0.04, 0.105, 0.03, 0.05


@dataclass(frozen=True)
class Skeleton:
    """Fixed frames of a model.

    Attributes:
        frames: homogeneous matrices ``(..., 4, 4, 20)``, joint by joint (see ``FRAMES``).
        knee: quadratic polynomials of the knee angle ``(3, 5)``, highest power first; columns: turn about y, about z
            (radians), shift along x, y, z (metres).
    """

    frames: Tensor
    knee: Tensor

    @classmethod
    def generic(cls, height: float, dtype: torch.dtype = torch.float64) -> Skeleton:
        """A body of ``height`` metres with average proportions and hinge knees."""
        frames = torch.eye(4, dtype=dtype)[:, :, None].repeat(1, 1, FRAMES)
        hinge = about("y", torch.tensor(torch.pi / 2, dtype=dtype))  # bends about -z: flexion swings the shank back
        for side, sign in ((0, 1.0), (1, -1.0)):
            base = side * _LEG
            frames[:3, 3, base] = torch.tensor([0.0, -HIP_BELOW_PELVIS, sign * HIP_HALF_WIDTH], dtype=dtype) * height
            frames[1, 3, base + 2] = -THIGH * height
            turn = hinge if side == 0 else hinge.mT
            frames[:3, :3, base + 2], frames[:3, :3, base + 3] = turn, turn.mT
            frames[1, 3, base + 4] = -SHANK * height
            heel = torch.tensor([-HEEL_BEHIND_ANKLE, -ANKLE_HEIGHT, 0.0], dtype=dtype)
            frames[:3, 3, base + 6] = heel * height
            frames[0, 3, base + 8] = HEEL_TO_TOE * height
        frames[1, 3, 18] = TORSO_ABOVE_PELVIS * height
        return cls(frames, torch.zeros(3, 5, dtype=dtype))


@dataclass(frozen=True)
class Pose:
    """Joint positions in metres and segment orientations.

    Attributes:
        joints: ``(..., frames, 11, 3)``, order ``JOINTS``. segments: ``(..., frames, 10, 3, 3)``, order ``SEGMENTS``.
    """

    joints: Tensor
    segments: Tensor

    @property
    def feet(self) -> Tensor:
        """Heels and toes ``(..., frames, 4, 3)``, order ``FEET``."""
        return self.joints[..., [JOINTS.index(name) for name in FEET], :]


def _rigid(turn: Tensor, shift: Tensor | None = None) -> Tensor:
    """Homogeneous matrices ``(..., 4, 4)`` from ``(..., 3, 3)`` and ``(..., 3)``."""
    matrix = turn.new_zeros(*turn.shape[:-2], 4, 4)
    matrix[..., :3, :3] = turn
    matrix[..., 3, 3] = 1
    if shift is not None:
        matrix[..., :3, 3] = shift
    return matrix


def _knee(angle: Tensor, polynomials: Tensor, left: bool) -> Tensor:
    """The knee's own motion ``(..., 4, 4)``; the left one is the mirror image of the right."""
    powers = torch.stack([angle.square(), angle, torch.ones_like(angle)], -1)
    inward, twist, x, y, z = (powers @ polynomials.to(angle)).unbind(-1)
    side = -1.0 if left else 1.0
    turn = about("x", side * angle) @ about("y", side * inward) @ about("z", twist)
    return _rigid(turn, torch.stack([x, y, side * z], -1))


def forward(poses: Tensor, skeleton: Skeleton) -> Pose:
    """Joints and segments of ``poses`` ``(..., frames, columns)``, whose first 23 columns are the coordinates."""

    def euler(joint: str) -> Tensor:
        angles = poses[..., columns.osim(columns.JOINTS_3D[joint])]
        if joint == "hip_l":  # adduction and inward rotation count positive on both sides
            angles = angles * angles.new_tensor([1.0, -1.0, -1.0])
        return from_euler(angles)

    frames = skeleton.frames.to(poses).movedim(-1, 0).unsqueeze(-3)  # (20, ..., 1, 4, 4): one for all frames of a clip
    root = poses[..., columns.osim(columns.ROOT)]
    pelvis = _rigid(euler("pelvis"), root)
    joints, segments = [root], [pelvis[..., :3, :3]]
    for side, base in (("r", 0), ("l", _LEG)):
        knee, ankle, subtalar = poses[
            ..., columns.osim([f"{j}_angle_{side}" for j in ("knee", "ankle", "subtalar")])
        ].unbind(-1)
        bends = [
            _rigid(euler(f"hip_{side}")),
            _knee(knee, skeleton.knee, side == "l"),
            _rigid(about("z", ankle)),
            _rigid(about("z", subtalar)),
        ]
        here = pelvis
        for number, bend in enumerate(bends):
            here = here @ frames[base + 2 * number] @ bend
            joints.append(here[..., :3, 3])
            here = here @ frames[base + 2 * number + 1]
            segments.append(here[..., :3, :3])
        joints.append((here @ frames[base + 8])[..., :3, 3])
    torso = pelvis @ frames[18] @ _rigid(euler("lumbar")) @ frames[19]
    segments.append(torso[..., :3, :3])
    return Pose(torch.stack(joints, -2), torch.stack(segments, -3))
