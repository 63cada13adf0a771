"""A person in a BVH file, as exporters write it: Mixamo's joints, a rest pose with the arms out, a walk."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

# joint -> parent, offset in metres (y up, facing +z)
BONES: dict[str, tuple[str | None, tuple[float, float, float]]] = {
    "Hips": (None, (0, 1.0, 0)),
    "Spine": ("Hips", (0, 0.1, 0)),
    "Spine1": ("Spine", (0, 0.12, 0)),
    "Spine2": ("Spine1", (0, 0.12, 0)),
    "Neck": ("Spine2", (0, 0.16, 0)),
    "Head": ("Neck", (0, 0.1, 0.02)),
}
for side, sign in (("Left", 1), ("Right", -1)):
    parents = ["Hips", f"{side}UpLeg", f"{side}Leg", f"{side}Foot", f"{side}ToeBase"]
    leg = [(0.09 * sign, -0.04, 0), (0, -0.42, 0), (0, -0.42, 0), (0, -0.08, 0.13)]
    BONES |= {bone: (parent, offset) for (parent, bone), offset in zip(pairwise(parents), leg, strict=True)}
    parents = ["Spine2", f"{side}Shoulder", f"{side}Arm", f"{side}ForeArm", f"{side}Hand"]
    arm = [(0.06 * sign, 0.12, 0), (0.12 * sign, 0, 0), (0.28 * sign, 0, 0), (0.26 * sign, 0, 0)]
    BONES |= {bone: (parent, offset) for (parent, bone), offset in zip(pairwise(parents), arm, strict=True)}


def walk(frames: int, fps: float = 30.0, heading: float = 90.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Root positions ``(frames, 3)`` in metres and angles (z, x, y in degrees) of the joints that turn."""
    time = np.arange(frames) / fps
    swing = 25 * np.sin(5 * time + 0.7)
    zero = np.zeros(frames)
    angles = {
        "Hips": np.stack([zero, zero, heading + zero], -1),
        "LeftUpLeg": np.stack([zero, swing, zero], -1),
        "RightUpLeg": np.stack([zero, -swing, zero], -1),
        "LeftLeg": np.stack([zero, 15 + 10 * np.sin(5 * time), zero], -1),
        "LeftArm": np.stack([zero - 75, swing, zero], -1),
        "RightArm": np.stack([zero + 70, -swing, zero], -1),
    }
    turn = np.deg2rad(heading)
    return np.stack([np.sin(turn) * 1.2 * time, 1.0 + zero, np.cos(turn) * 1.2 * time], -1), angles


def person_bvh(
    root: np.ndarray,
    angles: dict[str, np.ndarray],
    *,
    fps: float = 30.0,
    unit: float = 0.01,
    up: str = "y",
    prefix: str = "",
    rest_in_front: int = 0,
    rest_root: tuple[float, float, float] = (0, 1.0, 0),
) -> str:
    """The text of a BVH file; ``up`` z writes the same motion with the floor in x and y."""
    frames = len(root)
    front = np.tile(np.array(rest_root, float), (rest_in_front, 1))
    root = np.concatenate([front, root]) / unit
    lines = ["HIERARCHY"]
    columns: list[np.ndarray] = [_point(root, up)]

    def joint(name: str, depth: int) -> None:
        parent, offset = BONES[name]
        x, y, z = _point(np.array(offset) / unit, up)
        order = "Yrotation Xrotation Zrotation" if up == "z" else "Zrotation Xrotation Yrotation"
        moves = "" if parent else "Xposition Yposition Zposition "
        lines.append(f"{'JOINT' if parent else 'ROOT'} {prefix}{name}")
        lines.extend(["{", f"OFFSET {x:.6f} {y:.6f} {z:.6f}", f"CHANNELS {3 if parent else 6} {moves}{order}"])
        turned = np.concatenate([np.zeros((rest_in_front, 3)), angles.get(name, np.zeros((frames, 3)))])
        columns.append(turned * np.array([-1, 1, 1] if up == "z" else [1, 1, 1]))
        for child in [bone for bone, (above, _) in BONES.items() if above == name]:
            joint(child, depth + 1)
        lines.append("}")

    joint("Hips", 0)
    rows = np.concatenate(columns, axis=-1)
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / fps:.7f}"]
    return "\n".join([*lines, *(" ".join(f"{v:.5f}" for v in row) for row in rows)]) + "\n"


def _point(value: np.ndarray, up: str) -> np.ndarray:
    return np.stack([value[..., 0], -value[..., 2], value[..., 1]], -1) if up == "z" else value
