"""Quaternions (w, x, y, z), rotation matrices and 6D rotations in numpy float64; every function broadcasts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmu.errors import DataError

Array = NDArray[np.float64]
_TINY = 1e-10  # below this, |u||v| + u.v and u x v are rounding noise: the vectors are antiparallel


def normalise(vectors: ArrayLike, eps: float = 1e-12) -> Array:
    """Unit vectors along the last axis ``(..., n)``; vectors shorter than ``eps`` become zero, never NaN."""
    v = np.asarray(vectors, dtype=np.float64)
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.where(length > eps, v / np.where(length > eps, length, 1.0), 0.0)


def cross(a: Array, b: Array) -> Array:
    """Vector product along the last axis, ``(..., 3)``: ``numpy.cross`` without its general and slow part."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def quat_multiply(a: ArrayLike, b: ArrayLike) -> Array:
    """Hamilton product ``a b`` (b acts first), ``(..., 4)``."""
    a_, b_ = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    aw, ax, ay, az = a_[..., 0], a_[..., 1], a_[..., 2], a_[..., 3]
    bw, bx, by, bz = b_[..., 0], b_[..., 1], b_[..., 2], b_[..., 3]
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def quat_conjugate(q: ArrayLike) -> Array:
    """Conjugate, the inverse of a unit quaternion, ``(..., 4)``."""
    conjugate: Array = np.asarray(q, dtype=np.float64) * np.array([1.0, -1.0, -1.0, -1.0])
    return conjugate


def quat_rotate(q: ArrayLike, v: ArrayLike) -> Array:
    """Rotate vectors ``v (..., 3)`` by unit quaternions ``q (..., 4)``."""
    q_, v_ = np.asarray(q, dtype=np.float64), np.asarray(v, dtype=np.float64)
    axis = q_[..., 1:]
    uv = cross(axis, v_)
    return v_ + 2.0 * (q_[..., :1] * uv + cross(axis, uv))


def quat_between(u: ArrayLike, v: ArrayLike) -> Array:
    """Shortest rotation taking the direction ``u`` to ``v``: normalise(|u||v| + u.v, u x v), ``(..., 4)``.

    Antiparallel directions turn half a circle about the world up axis (about z where ``u`` is itself vertical),
    and a zero vector gives the identity: the result is always a finite unit quaternion.
    """
    a, b = np.broadcast_arrays(normalise(u), normalise(v))
    scalar = 1.0 + np.sum(a * b, axis=-1, keepdims=True)
    q = np.concatenate([scalar, cross(a, b)], axis=-1)
    length = np.linalg.norm(q, axis=-1, keepdims=True)
    antiparallel = length < _TINY
    if antiparallel.any():
        vertical = np.abs(a[..., 1:2]) > 0.99
        helper = np.where(vertical, np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]))
        axis = normalise(helper - np.sum(helper * a, axis=-1, keepdims=True) * a)
        half_turn = np.concatenate([np.zeros_like(scalar), axis], axis=-1)
        q, length = np.where(antiparallel, half_turn, q), np.where(antiparallel, 1.0, length)
    unit: Array = q / length
    return unit


def quat_to_matrix(q: ArrayLike) -> Array:
    """Rotation matrices ``(..., 3, 3)`` of quaternions ``(..., 4)`` (normalised first)."""
    unit = normalise(q)
    w, x, y, z = unit[..., 0], unit[..., 1], unit[..., 2], unit[..., 3]
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quat_to_six(q: ArrayLike) -> Array:
    """6D rotation ``(..., 6)`` of quaternions ``(..., 4)``: the matrix's first two columns (Zhou et al., CVPR 2019)."""
    matrix = quat_to_matrix(q)
    return np.concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def slerp(a: ArrayLike, b: ArrayLike, weight: ArrayLike) -> Array:
    """Spherical interpolation along the shorter arc; ``weight`` broadcasts against ``(..., 1)``, 0 gives ``a``."""
    a_, b_ = normalise(a), normalise(b)
    t = np.asarray(weight, dtype=np.float64)
    dot = np.sum(a_ * b_, axis=-1, keepdims=True)
    b_ = np.where(dot < 0, -b_, b_)
    # atan2 keeps full precision for tiny and for nearly opposite angles, where arccos does not
    angle = 2.0 * np.arctan2(np.linalg.norm(a_ - b_, axis=-1), np.linalg.norm(a_ + b_, axis=-1))[..., None]
    small = angle < 1e-9
    sine = np.where(small, 1.0, np.sin(angle))
    wa = np.where(small, 1.0 - t, np.sin((1.0 - t) * angle) / sine)
    wb = np.where(small, t, np.sin(t * angle) / sine)
    return normalise(wa * a_ + wb * b_)


def axis_quat(axis: str, angle: ArrayLike) -> Array:
    """Rotation by ``angle`` radians about a coordinate axis ``x``, ``y`` or ``z``; ``(...)`` -> ``(..., 4)``."""
    half = 0.5 * np.asarray(angle, dtype=np.float64)
    q = np.zeros((*half.shape, 4))
    q[..., 0] = np.cos(half)
    q[..., 1 + "xyz".index(axis)] = np.sin(half)
    return q


def euler_to_quat(angles: ArrayLike, order: str) -> Array:
    """Intrinsic Euler angles to quaternions: ``order="zxy"`` means ``R = Rz Rx Ry`` acting on column vectors.

    ``angles`` are radians ``(..., len(order))`` in that order; letters may repeat, as in ``zxz``.

    Raises:
        DataError: for other letters than x, y, z, or angles of another width.
    """
    values = np.asarray(angles, dtype=np.float64)
    letters = order.lower()
    if not letters or set(letters) - set("xyz") or values.shape[-1:] != (len(letters),):
        raise DataError(
            f"a rotation order has letters x, y, z, one per angle; got '{order}' for {values.shape[-1]} angles"
        )
    result = axis_quat(letters[0], values[..., 0])
    for column, letter in enumerate(letters[1:], start=1):
        result = quat_multiply(result, axis_quat(letter, values[..., column]))
    return result
