"""Parity of ``dev/features``: joints to features and back, mirroring, statistics, quaternion helpers.

One folder holds many files; each is told apart by the longest known prefix of its name. Skeleton, sizes and which
intermediate results exist come from the arrays themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.motion import rotations as rot
from hmu.motion.decoding import features_to_joints
from hmu.motion.features import (
    bone_offsets,
    face_forward,
    facing_quaternions,
    joints_to_features,
    local_rotations,
    retarget,
)
from hmu.motion.layout import FeatureLayout
from hmu.motion.skeleton import SKELETONS, Skeleton
from hmu.motion.statistics import motion_statistics
from tests.parity.case import Case, read_arrays
from tests.parity.checks import Check, Checks, compare, exact, inside, unchecked
from tests.parity.kinds import compares
from tests.parity.motion import joints_from_rotations, mirror_joints, quat_continuous, root_trajectory, six_to_matrix

Arrays = dict[str, NDArray[Any]]
Reader = Callable[[Path, Arrays], Checks]
near = partial(compare, absolute=True)

# Absolute, metres; the authors' float32 seen against float64: root 6e-8, positions 8e-7, 6D 4e-6, velocities 1.2e-6.
_GROUP_TOLERANCE = {
    "root_yaw": 2e-6,
    "root_velocity": 2e-6,
    "root_height": 2e-6,
    "positions": 5e-6,
    "rotations": 3e-5,
    "velocities": 5e-6,
}
_LENGTH_GROUPS = {"root_velocity", "root_height", "positions", "velocities"}  # in the skeleton's unit


def _skeleton(features: NDArray[Any]) -> Skeleton:
    return next(skeleton for skeleton in SKELETONS if skeleton.features == features.shape[-1])


def bias_features(std: ArrayLike, feat_bias: float = 5.0) -> NDArray[np.float64]:
    """Std ``(features,)`` with root and contact groups divided by ``feat_bias``, as VQ training saves it."""
    result = np.array(std, dtype=np.float64)
    layout = FeatureLayout.of(len(result))
    result[layout.root] /= feat_bias
    result[layout.contacts] /= feat_bias
    return result


@compares("features", known=(".npz", ".json", "real"), files=())
def run(case: Case) -> Checks:
    """All files of a features folder."""
    for path in sorted(case.folder.glob("*.npz")):
        arrays = read_arrays(path)
        known = [kind for kind in _FILES if path.name.startswith(kind)]
        kind = _FILES[max(known, key=len)] if known else _by_arrays(arrays)
        if kind is None:
            yield unchecked(f"'{path.name}'", "unknown kind")
        else:
            yield from inside(f"{path.stem}:", kind(path, arrays))


def _by_arrays(arrays: Arrays) -> Reader | None:
    """Who compares a clip, or a file of another name."""
    if "features" in arrays:
        return _clip
    return _decode if "joints" in arrays else None


def _clip(path: Path, data: Arrays) -> Checks:
    """``raw``, ``short``, ``kit``, ``mirror``, ``real_*_reprocessed``: joints -> features -> joints."""
    skeleton = _skeleton(data["features"])
    for name in ("joints", "joints52"):
        if f"{name}_mirrored" in data:
            mirrored = mirror_joints(data[f"{name}_in"], skeleton)
            yield compare(f"{name}_mirrored", mirrored, data[f"{name}_mirrored"], 1e-12)
    sources = (data.get("joints_mirrored"), data.get("joints_in"), _real(path, "new_joints"))
    joints = next((source for source in sources if source is not None), None)
    target = _target_offsets(path, data, skeleton)
    if joints is None or target is None:
        yield unchecked("features", "source joints or target skeleton absent")
        yield from _decoded(data, skeleton, target)
        return
    threshold = float(data["feet_thre"]) if "feet_thre" in data else None
    ours = joints_to_features(joints, skeleton, target_offsets=target, contact_threshold=threshold)
    yield exact("finite", bool(np.isfinite(ours).all()), True)
    if "src_offsets" in data:
        tolerance = 1e-6 / skeleton.units_to_metres
        yield near("offsets", bone_offsets(joints[0], skeleton), data["src_offsets"], tolerance)
    # two errors of the authors leave nothing to compare with: their cross product runs along time for clips of three
    # frames, and opposite or zero-length directions give NaN
    if len(joints) == 3 or (np.isnan(data["features"]).any() and _degenerate(joints, skeleton)):
        yield from _right_without_reference(joints, ours, skeleton, target)
    else:
        yield from _steps(joints, data, skeleton, target)
        yield from _feature_groups(ours, data["features"], skeleton, threshold or skeleton.contact_threshold)
    yield from _decoded(data, skeleton, target)


def _steps(joints: NDArray[Any], data: Arrays, skeleton: Skeleton, target: NDArray[Any]) -> Checks:
    """Whatever intermediate results of the authors are stored."""
    unit = 1.0 / skeleton.units_to_metres
    resized = retarget(joints, skeleton, target)
    placed = face_forward(resized, skeleton)
    turn = facing_quaternions(placed, skeleton)
    raw_turn = facing_quaternions(joints, skeleton, smoothing=0.0)
    turn[0] = raw_turn[0] = (1.0, 0.0, 0.0, 0.0)
    legs = list(skeleton.retarget_bones)
    leg = [np.abs(offsets[legs]).max(axis=-1).sum() for offsets in (target, bone_offsets(joints[0], skeleton))]
    rooted = placed - placed[:, :1] * np.array([1.0, 0.0, 1.0])
    ours: dict[str, tuple[object, float]] = {
        "scale_rt": (leg[0] / leg[1], 1e-6),
        "retargeted": (resized, 4e-6 * unit),
        "floor_height": (resized[..., 1].min(), 4e-6 * unit),
        "global_positions": (placed, 4e-6 * unit),
        "local_positions": (rot.quat_rotate(turn[:, None], rooted), 5e-6 * unit),
        "l_velocity": (rot.quat_rotate(turn[1:], placed[1:, 0] - placed[:-1, 0])[:, [0, 2]], 2e-6 * unit),
        "ik_quats_smooth": (local_rotations(placed, skeleton, turn), 3e-5),
        "ik_quats_nosmooth": (local_rotations(joints, skeleton, raw_turn), 3e-5),
    }
    for name, (value, tolerance) in ours.items():
        if name in data:
            yield near(name, value, data[name], tolerance)
    if "root_quat_init" in data:
        turned = rot.quat_rotate(data["root_quat_init"], resized[:1] - resized[:1, :1])
        kept = placed[:1] - placed[:1, :1]
        yield near("root_quat_init", turned, kept, 1e-5 * unit)
    if "forward_init" in data:
        forward = rot.quat_rotate(data["root_quat_init"], data["forward_init"]) if "root_quat_init" in data else None
        yield near("forward_init", forward, [[0.0, 0.0, 1.0]], 1e-5)


def _degenerate(joints: NDArray[Any], skeleton: Skeleton) -> bool:
    """Whether a bone has no length, a bone is opposite to its raw axis, or a frame faces exactly backwards."""
    bones = joints[:, 1:] - joints[:, list(skeleton.parents[1:])]
    lengths = np.linalg.norm(bones, axis=-1)
    opposite = np.sum(rot.normalise(bones) * skeleton.raw_axes[1:], axis=-1) < -1 + 1e-6
    backwards = facing_quaternions(joints, skeleton, smoothing=0.0)[:, 0] < 1e-3
    return bool((lengths < 1e-9).any() or opposite.any() or backwards.any())


def _real(path: Path, kind: str) -> NDArray[Any] | None:
    """What the shared clip that a file is named after holds."""
    sources = sorted((path.parent / "real").glob(f"{path.stem.partition('_')[2].partition('_')[0]}_{kind}.npy"))
    return np.load(sources[0], allow_pickle=False) if sources else None


def _target_offsets(path: Path, data: Arrays, skeleton: Skeleton) -> NDArray[Any] | None:
    if "target_offsets" in data:
        return data["target_offsets"]
    poses = sorted((path.parent / "real").glob("target_skeleton_*.npy"))
    return bone_offsets(np.load(poses[0], allow_pickle=False), skeleton) if poses else None


def _feature_groups(ours: NDArray[Any], expected: NDArray[Any], skeleton: Skeleton, threshold: float) -> Checks:
    if ours.shape != expected.shape:
        yield Check(f"features {ours.shape} instead of {expected.shape}", float("inf"), 0.0)
        return
    for name, columns in skeleton.layout.groups:
        if name == "contacts":
            # speeds within float32 noise of the threshold may fall on either side
            velocity = ours[:, skeleton.layout.velocities].reshape(len(ours), skeleton.joints, 3)
            speed = np.sum(velocity[:, list(skeleton.contacts)] ** 2, axis=-1)
            clear = np.abs(speed - threshold) > 1e-4 * threshold
            yield exact(name, ours[:, columns][clear], expected[:, columns][clear])
            continue
        scale = 1.0 / skeleton.units_to_metres if name in _LENGTH_GROUPS else 1.0
        yield near(name, ours[:, columns], expected[:, columns], _GROUP_TOLERANCE[name] * scale)


def _right_without_reference(
    joints: NDArray[Any], ours: NDArray[Any], skeleton: Skeleton, target: NDArray[Any]
) -> Checks:
    """A clip whose stored features are wrong: ours must decode to the same poses by both routes, and to the source."""
    unit = 1.0 / skeleton.units_to_metres
    decoded = features_to_joints(ours, skeleton)
    chained = joints_from_rotations(ours, skeleton, target)
    yield near("both decodings agree", chained, decoded, 1e-9 * unit)
    source = retarget(joints, skeleton, target)[:-1]
    ours_apart, source_apart = _distances(decoded), _distances(source)
    yield near("poses kept", ours_apart, source_apart, 1e-9 * unit)


def _distances(joints: NDArray[Any]) -> NDArray[Any]:
    apart: NDArray[Any] = np.linalg.norm(joints[..., :, None, :] - joints[..., None, :, :], axis=-1)
    return apart


def _decoded(data: Arrays, skeleton: Skeleton, target: NDArray[Any] | None) -> Checks:
    features, unit = data["features"], 1.0 / skeleton.units_to_metres
    joints = features_to_joints(features, skeleton)
    for key, tolerance in (("rec_from_ric", 2e-6), ("rec_from_ric_f64", 1e-6)):
        if key in data:
            yield near(key, joints, data[key], tolerance * unit)
    if "rec_from_rot" in data and target is not None:
        chained = joints_from_rotations(features, skeleton, target)
        yield near("rec_from_rot", chained, data["rec_from_rot"], 5e-6 * unit)
    if "rec_root_pos" in data:
        quats, position = root_trajectory(features, skeleton)
        yield near("rec_root_quat", quats, data["rec_root_quat"], 1e-5)
        yield near("rec_root_pos", position, data["rec_root_pos"], 2e-6 * unit)


def _decode(path: Path, data: Arrays) -> Checks:
    """``decode_batch``, ``real_*_decoded``: features -> joints, any batch shape."""
    features = data.get("features_in", _real(path, "new_joint_vecs"))
    if features is None:
        yield unchecked("decoding", "its features are not stored")
        return
    skeleton = _skeleton(features)
    # float32 sums over the clip, in the authors' code: the error grows with the distance walked
    unit = 1.0 / skeleton.units_to_metres
    yield near("joints", features_to_joints(features, skeleton), data["joints"], 5e-6 * unit)
    quats, position = root_trajectory(features, skeleton)
    yield near("root_quat", quats, data["root_quat"], 1e-5)
    yield near("root_pos", position, data["root_pos"], 5e-6 * unit)


def _quaternions(path: Path, data: Arrays) -> Checks:
    del path
    ours = {
        "qmul": rot.quat_multiply(data["qa"], data["qb"]),
        "qinv": rot.quat_conjugate(data["qa"]),
        "qrot": rot.quat_rotate(data["qa"], data["v"]),
        "to_matrix": rot.quat_to_matrix(data["qa"]),
        "to_cont6d": rot.quat_to_six(data["qa"]),
        "cont6d_to_matrix": six_to_matrix(data["c6"]),
    }
    for name, value in ours.items():
        yield compare(name, value, data[name], 1e-6) if name in data else unchecked(name, "absent")
    yield compare("qfix", quat_continuous(data["qfix_in"]), data["qfix_out"], 1e-12)
    u, v = rot.normalise(data["v"]), rot.normalise(data["w"])
    turn = rot.quat_between(u, v)
    # antiparallel: the axis is free (the authors' is rounding noise or NaN), but ours must take u to v
    free = np.sum(u * v, axis=-1) < -1 + 1e-6
    yield compare("qbetween", turn[~free], data["qbetween_v_w"][~free], 1e-5)
    yield compare("qbetween turns v to w", rot.quat_rotate(turn, u), v, 1e-6)


def _mean_std(path: Path, data: Arrays) -> Checks:
    clips = [np.load(p, allow_pickle=False) for p in sorted((path.parent / "real").glob("*_new_joint_vecs.npy"))]
    if not clips:
        yield unchecked("statistics", "its features are not stored")
        return
    mean, std = motion_statistics(clips)
    yield compare("Mean", mean, data["Mean"], 1e-10)
    yield compare("Std", std, data["Std"], 1e-10)
    for key in (k for k in data if k.startswith("Std_divided_feat_bias")):
        bias = float(key.removeprefix("Std_divided_feat_bias"))
        yield compare(key, bias_features(data["Std"], bias), data[key], 1e-12)
    if "window_item_clip_start" in data:
        yield from _windows(data)


def _windows(data: Arrays) -> Checks:
    """The published window index of VQ training, stated as the rule and checked against the table."""
    cumulative, items = data["cumsum"], data["window_items"]
    clip = np.maximum(np.searchsorted(cumulative, items) - 1, 0)
    start = np.maximum(items - cumulative[clip] - 1, 0)
    yield exact("windows", np.stack([items, clip, start], axis=-1), data["window_item_clip_start"])
    yield exact("cumsum", np.concatenate([[0], np.cumsum(data["lengths"])]), cumulative)


_FILES: dict[str, Reader] = {
    **dict.fromkeys(("raw", "short", "kit", "mirror"), _clip),
    "real": lambda path, data: (_clip if "features" in data else _decode)(path, data),
    "decode_batch": _decode,
    "quaternions": _quaternions,
    "mean_std": _mean_std,
}
