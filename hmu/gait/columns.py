"""The 63 columns of a GaitDynamics model state and the 35 columns of an OpenSim trial, by name.

Source: the representation of GaitDynamics (Tan et al. 2025), as measured in its golden vectors. Units of a state:

=================  ==========================================================================================
root               velocity of the pelvis divided by body height, 1/s
angles             radians (knee, ankle, subtalar of both sides)
kinetics           per foot: force / mass (N/kg), then (centre of pressure - heel) * vertical force / mass / height
rotations          pelvis, hips, lumbar: the first two rows of the rotation matrix, row after row
angular velocity   of the same four joints, from consecutive matrices (see :mod:`hmu.gait.rotations`), 1/s
angle velocity     of the six scalar angles, radians per *frame*
=================  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable

FPS = 100.0
WINDOW = 150

ROOT = ("pelvis_tx", "pelvis_ty", "pelvis_tz")
ANGLES = tuple(f"{joint}_angle_{side}" for side in "rl" for joint in ("knee", "ankle", "subtalar"))
JOINTS_3D: dict[str, tuple[str, str, str]] = {
    "pelvis": ("pelvis_tilt", "pelvis_list", "pelvis_rotation"),
    "hip_r": ("hip_flexion_r", "hip_adduction_r", "hip_rotation_r"),
    "hip_l": ("hip_flexion_l", "hip_adduction_l", "hip_rotation_l"),
    "lumbar": ("lumbar_extension", "lumbar_bending", "lumbar_rotation"),
}


def _per_foot(side: str) -> tuple[str, ...]:
    foot = f"calcn_{side}_force"
    return (*(f"{foot}_v{axis}" for axis in "xyz"), *(f"{foot}_normed_cop_{axis}" for axis in "xyz"))


KINETICS = _per_foot("r") + _per_foot("l")
ROTATIONS = tuple(f"{joint}_{entry}" for joint in JOINTS_3D for entry in range(6))
ANGULAR = tuple(f"{joint}_{axis}_angular_vel" for joint in JOINTS_3D for axis in "xyz")
ANGLE_VELOCITIES = tuple(f"{name}_vel" for name in ANGLES)

#: the model state, in the published order
STATES: tuple[str, ...] = ROOT + ANGLES + KINETICS + ROTATIONS + ANGULAR + ANGLE_VELOCITIES
FEATURES = len(STATES)


def _leg(side: str) -> tuple[str, ...]:
    hip = JOINTS_3D[f"hip_{side}"]
    return (*hip, *(f"{joint}_angle_{side}" for joint in ("knee", "ankle", "subtalar", "mtp")))


#: the 23 coordinates of the generic OpenSim model without arms
COORDINATES: tuple[str, ...] = (*JOINTS_3D["pelvis"], *ROOT, *_leg("r"), *_leg("l"), *JOINTS_3D["lumbar"])
#: coordinates and kinetics: what a model state converts to and from
OSIM: tuple[str, ...] = COORDINATES + KINETICS

_STATE = {name: index for index, name in enumerate(STATES)}
_OSIM = {name: index for index, name in enumerate(OSIM)}


def states(names: Iterable[str]) -> list[int]:
    """Positions of ``names`` in a model state. Raises ``KeyError`` for a name that is not one."""
    return [_STATE[name] for name in names]


def osim(names: Iterable[str]) -> list[int]:
    """Positions of ``names`` among the 35 OpenSim columns. Raises ``KeyError`` for a name that is not one."""
    return [_OSIM[name] for name in names]


ROOT_COLUMNS = states(ROOT)
ANGLE_COLUMNS = states(ANGLES)
KINETIC_COLUMNS = states(KINETICS)
KINEMATIC_COLUMNS = [index for index in range(FEATURES) if index not in set(KINETIC_COLUMNS)]
ROTATION_COLUMNS = states(ROTATIONS)
FORCE_COLUMNS = {side: states(_per_foot(side)[:3]) for side in "rl"}
COP_COLUMNS = {side: states(_per_foot(side)[3:]) for side in "rl"}
