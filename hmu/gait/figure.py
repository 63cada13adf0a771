"""Gait windows as stick figures with force arrows: what the animation and the page of a report draw."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from hmu.gait import columns
from hmu.gait.skeleton import JOINTS, SEGMENTS, TORSO_ABOVE_PELVIS, Skeleton, forward
from hmu.gait.states import to_osim
from hmu.gait.statistics import CONTACT, GRAVITY
from hmu.motion.stick import Figure

# Winter 2009: the neck (C7) and the middle of the head, as shares of body height above the lumbar joint
NECK, HEAD = 0.25, 0.32
ARROW = 0.6  # metres that one body weight is drawn
HEIGHT = 1.7  # metres of a body that nobody has measured

NAMES = (*JOINTS, "lumbar", "neck", "head")
_LEGS = [("pelvis", *(f"{joint}_{side}" for joint in ("hip", "knee", "ankle", "calcn", "mtp"))) for side in "rl"]
_CHAINS = [*_LEGS, ("pelvis", "lumbar", "neck", "head")]
EDGES = tuple((NAMES.index(a), NAMES.index(b)) for chain in _CHAINS for a, b in pairwise(chain))
#: per edge 1 (right), -1 (left) or 0
SIDES = (1,) * 5 + (-1,) * 5 + (0,) * 3


def gait_stick_figure(windows: Tensor, height: Tensor | float = HEIGHT) -> Figure:
    """The figure of windows ``(..., frames, 63)`` in real units, for an average skeleton of ``height`` metres.

    Joints in the order of :data:`NAMES`; x forward, y up, z to the right. The root starts above the origin; the lowest
    point of the loaded feet is put on the floor. Arrows are the ground-reaction forces of the right and the left foot:
    one body weight is :data:`ARROW` metres long, a foot without contact has an arrow of no length at its heel.
    """
    states = windows.double()
    tall = torch.as_tensor(height, dtype=states.dtype).expand(states.shape[:-2])
    poses = to_osim(states, tall)
    root = columns.osim(columns.ROOT)
    poses[..., root] -= poses[..., :1, root]
    unit = poses.clone()  # a body of 1 metre: positions of any other are multiples
    unit[..., root] /= tall[..., None, None]
    skeleton = Skeleton.generic(1.0)
    pose = forward(unit, skeleton)
    joints = torch.cat([pose.joints, _trunk(pose.joints, pose.segments)], -2) * tall[..., None, None, None]
    force = torch.stack([states[..., columns.FORCE_COLUMNS[side]] for side in "rl"], -2)
    joints[..., 1] -= _floor(joints, force[..., 1])[..., None, None]
    return Figure(joints, _arrows(states, joints, force, tall))


def _trunk(joints: Tensor, segments: Tensor) -> Tensor:
    """Lumbar joint, neck and head ``(..., frames, 3, 3)`` of a body of 1 metre."""
    pelvis, torso = (segments[..., SEGMENTS.index(name), :, 1] for name in ("pelvis", "torso"))  # their upward axes
    lumbar = joints[..., JOINTS.index("pelvis"), :] + TORSO_ABOVE_PELVIS * pelvis
    return torch.stack([lumbar, lumbar + NECK * torso, lumbar + HEAD * torso], -2)


def _floor(joints: Tensor, vertical: Tensor) -> Tensor:
    """Mean height of the lower end of the loaded feet ``(...)``; where no foot is ever loaded, the lowest point."""
    ends = torch.stack(
        [joints[..., [NAMES.index(f"{end}_{side}") for end in ("calcn", "mtp")], 1] for side in "rl"], -2
    )
    lowest = ends.amin(-1)
    loaded = (vertical > CONTACT * GRAVITY).to(lowest)
    count = loaded.sum((-1, -2))
    mean = (lowest * loaded).sum((-1, -2)) / count.clamp(min=1)
    return torch.where(count > 0, mean, lowest.amin((-1, -2)))


def _arrows(states: Tensor, joints: Tensor, force: Tensor, tall: Tensor) -> Tensor:
    heels = joints[..., [NAMES.index(f"calcn_{side}") for side in "rl"], :]
    normed = torch.stack([states[..., columns.COP_COLUMNS[side]] for side in "rl"], -2)
    vertical = force[..., 1:2]
    pressed = vertical > CONTACT * GRAVITY
    arm = normed * tall[..., None, None, None] / torch.where(pressed, vertical, torch.ones_like(vertical))
    tail = torch.where(pressed, heels + arm, heels)
    head = torch.where(pressed, tail + force * ARROW / GRAVITY, heels)
    return torch.stack([tail, head], -2)
