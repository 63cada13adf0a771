"""Smooth curves from which the demo motions are made: all vectorised over frames, float64."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
FPS = 20.0


def keys(frames: int, times: Sequence[float], values: ArrayLike) -> Array:
    """Monotone cubic (Fritsch-Carlson) through key poses, at rest at both ends and at every extremum.

    ``times`` (frames, increasing) ``(keys,)`` and ``values`` ``(keys,)`` or ``(keys, d)`` give ``(frames,)`` or
    ``(frames, d)``, constant beyond both ends; keys closer than half a frame are pushed apart.
    """
    order = 0.5 * np.arange(len(times))
    knots = np.maximum.accumulate(np.asarray(times, dtype=np.float64) - order) + order
    points = np.asarray(values, dtype=np.float64)
    flat = points.reshape(len(knots), -1)
    steps = np.diff(knots)[:, None]
    slopes = np.diff(flat, axis=0) / steps
    tangents = np.zeros_like(flat)
    if len(knots) > 2:
        before, after = slopes[:-1], slopes[1:]
        product = before * after
        safe = np.where(product > 0, before + after, 1.0)
        tangents[1:-1] = np.where(product > 0, 2.0 * product / safe, 0.0)
    at = np.clip(np.arange(frames, dtype=np.float64), knots[0], knots[-1])
    left = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    width = steps[left]
    u = (at[:, None] - knots[left][:, None]) / width
    u2, u3 = u * u, u * u * u
    out = (
        (2 * u3 - 3 * u2 + 1) * flat[left]
        + (u3 - 2 * u2 + u) * width * tangents[left]
        + (3 * u2 - 2 * u3) * flat[left + 1]
        + (u3 - u2) * width * tangents[left + 1]
    )
    return np.asarray(out.reshape((frames, *points.shape[1:])), dtype=np.float64)


def min_jerk(u: ArrayLike) -> Array:
    """Position 0..1 of a minimum-jerk movement at relative time ``u`` (clipped to 0..1), same shape."""
    x = np.clip(np.asarray(u, dtype=np.float64), 0.0, 1.0)
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)


@lru_cache(maxsize=64)
def _kernel(sigma: float) -> Array:
    radius = max(1, int(3 * sigma + 0.5))
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (x / sigma) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def smooth(signal: Array, sigma: float) -> Array:
    """Gaussian smoothing along frames (edges repeated); ``(frames, ...)``, sigma in frames."""
    kernel = _kernel(sigma)
    radius = len(kernel) // 2
    padded = np.concatenate([np.repeat(signal[:1], radius, 0), signal, np.repeat(signal[-1:], radius, 0)])
    total = np.zeros_like(signal)
    for tap, weight in enumerate(kernel):  # a few taps; a matrix product could depend on the number of threads
        total += weight * padded[tap : tap + len(signal)]
    return total


def erode(signal: Array, radius: int) -> Array:
    """Running minimum over ``2 radius + 1`` frames (edges repeated), ``(frames,)``."""
    padded = np.concatenate([np.repeat(signal[:1], radius), signal, np.repeat(signal[-1:], radius)])
    return np.asarray(np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1).min(axis=1), dtype=np.float64)


def drift(rng: np.random.Generator, frames: int, width: int, scale: float) -> Array:
    """Slow smooth noise ``(frames, width)``: three sines of 0.15-0.7 Hz per channel, of deviation ~``scale``."""
    rate = rng.uniform(0.15, 0.7, (3, 1, width)) * (2 * np.pi / FPS)
    phase = rng.uniform(0, 2 * np.pi, (3, 1, width))
    time = np.arange(frames, dtype=np.float64)[None, :, None]
    return np.asarray(np.sin(rate * time + phase).sum(0) * (scale / np.sqrt(1.5)), dtype=np.float64)


def rotation(yaw: Array, pitch: Array, roll: Array) -> Array:
    """Rotations ``Ry(yaw) Rx(pitch) Rz(roll)``, radians ``(frames,)`` -> ``(frames, 3, 3)``.

    Positive yaw turns +z (forward) towards +x (the left), positive pitch leans +y (up) towards +z, positive roll
    leans it towards -x (the right).
    """
    cy, sy, cx, sx, cz, sz = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    rows = [
        [cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx],
        [cx * sz, cx * cz, -sx],
        [cy * sx * sz - sy * cz, cy * sx * cz + sy * sz, cy * cx],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def turn(matrices: Array, vectors: ArrayLike) -> Array:
    """Matrix times vector per frame: ``(frames, 3, 3)`` and ``(3,)`` or ``(frames, 3)`` -> ``(frames, 3)``."""
    return np.asarray((matrices @ np.asarray(vectors, dtype=np.float64)[..., None])[..., 0], dtype=np.float64)
