"""Writes the procedural trials: a tree ``<subject>/<style>/<trial>.npz`` in the exporters' layout."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hmu.gait import columns
from hmu.gait.columns import FPS
from hmu.gait.demo.curves import STYLES, Array, Style, curve, joint_curves, vertical_shape
from hmu.gait.preprocess import heels_and_toes, normed_cops, per_foot, states_of
from hmu.gait.skeleton import Skeleton
from hmu.gait.statistics import GRAVITY
from hmu.gait.trial import Trial, write_trial
from hmu.progress import phase

TOE_OFF_REACH = 0.8  # how far towards the toe the centre of pressure has moved at the end of a stance
_COLUMN = {name: index for index, name in enumerate(columns.COORDINATES)}


@dataclass(frozen=True)
class Person:
    """Who walks.

    Attributes:
        height, mass: metres, kilograms. severity: how strongly a style changes the joints, about 1.
        habits: small constant changes of the joint means, radians, by joint.
    """

    height: float
    mass: float
    severity: float
    habits: dict[str, float]


def person(rng: np.random.Generator) -> Person:
    """A random adult."""
    height = float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.95))
    mass = float(np.clip(rng.normal(23.5, 2.5), 18, 32)) * height**2
    habits = {joint: float(rng.normal(0, np.deg2rad(1.5))) for joint in ("hip", "knee", "ankle")}
    return Person(round(height, 3), round(mass, 1), float(rng.uniform(0.8, 1.15)), habits)


def generate(folder: Path, *, seed: int = 0, subjects: int, trials: int, seconds: float) -> None:
    """Write ``trials`` trials of ``seconds`` per style and person into ``folder``; equal seeds, equal bytes."""
    with phase("demo data", subjects * len(STYLES) * trials, "trials") as done:
        for number in range(subjects):
            rng = np.random.default_rng([seed, number])
            who = person(rng)
            for style, trial in itertools.product(STYLES, range(trials)):
                share = (trial + float(rng.random())) / trials  # speeds are spread evenly over a person's trials
                path = folder / f"S{number + 1:02d}" / style.name / f"trial_{trial + 1:02d}.npz"
                write_trial(path, make(style, who, share, seconds, rng))
                done.advance()


def make(style: Style, who: Person, share: float, seconds: float, rng: np.random.Generator) -> Trial:
    """One trial at the speed that lies at ``share`` (0..1) of the style's range."""
    speed, rate = (low + share * (high - low) for low, high in (style.speeds, style.stride))
    rate *= float(rng.normal(1, 0.03))
    style = replace(style, stance=style.stance - 0.04 * (share - 0.5), valley=style.valley * (0.7 + 0.6 * share))
    frames = round(seconds * FPS)
    time = np.arange(frames) / FPS
    wander = _slow_noise(rng, frames, 0.006)
    phase = float(rng.random()) + rate * time + wander
    phases = np.stack([phase, phase + 0.5 + float(rng.normal(0, 0.01))], 1)  # right, left
    skeleton = Skeleton.generic(who.height)
    poses = _poses(style, who, phases, rng)
    poses = _match_speed(poses, phases, style, skeleton, speed)
    forces = _forces(style, who, phases, speed)
    poses[:, _COLUMN["pelvis_tx"]] = _travel(speed, rate, phase, time)
    poses[:, _COLUMN["pelvis_tz"]] = 0.018 * np.sin(2 * np.pi * phase) + _slow_noise(rng, frames, 0.004)
    poses[:, _COLUMN["pelvis_ty"]] = _height(poses, forces, who, skeleton)
    heels, toes = heels_and_toes(poses, skeleton)
    cops = _pressure(heels, toes, phases, style)
    normed = normed_cops(forces, cops, heels, who.mass, who.height)
    states = states_of(poses, np.concatenate([forces / who.mass, normed], 1))
    start, missing = poses[0, columns.osim(columns.ROOT)], np.zeros(frames, dtype=bool)
    return Trial(states, missing, who.height, who.mass, FPS, start, "position", label=style.name)


def _slow_noise(rng: np.random.Generator, frames: int, size: float) -> Array:
    """A smooth random curve ``(frames,)`` that changes within about a second; ``size`` is its deviation."""
    count = frames // 50 + 4
    knots = rng.normal(0, size, count)
    place = np.linspace(1, count - 2, frames)
    low = np.floor(place).astype(int)
    u = place - low
    a, b, c, d = (knots[np.clip(low + k, 0, count - 1)] for k in (-1, 0, 1, 2))
    # uniform cubic B-spline
    value: Array = (
        a * (1 - u) ** 3 + b * (3 * u**3 - 6 * u**2 + 4) + c * (1 + 3 * u + 3 * u**2 - 3 * u**3) + d * u**3
    ) / 6
    return value


def _poses(style: Style, who: Person, phases: Array, rng: np.random.Generator) -> Array:
    """Coordinates ``(frames, 23)`` without the root's position."""
    frames = len(phases)
    poses = np.zeros((frames, len(columns.COORDINATES)))
    curves = joint_curves(style, who.severity)
    swinging = np.clip(np.sin(np.pi * (phases % 1 - style.stance) / (1 - style.stance)), 0, None) ** 2
    swinging *= (phases % 1) > style.stance
    for foot, side in enumerate("rl"):
        phase = phases[:, foot]
        for joint, name in (("hip", "hip_flexion"), ("knee", "knee_angle"), ("ankle", "ankle_angle")):
            mean, amplitudes = curves[joint]
            value = curve(mean + who.habits[joint], amplitudes, phase)
            poses[:, _COLUMN[f"{name}_{side}"]] = value + _slow_noise(rng, frames, np.deg2rad(1.0))
        sway = np.deg2rad(3.0) * np.sin(2 * np.pi * (phase - 0.05))
        poses[:, _COLUMN[f"hip_adduction_{side}"]] = sway - np.deg2rad(style.swing_out) * swinging[:, foot]
        poses[:, _COLUMN[f"hip_rotation_{side}"]] = np.deg2rad(4.0) * np.sin(2 * np.pi * phase + 0.6)
        poses[:, _COLUMN[f"subtalar_angle_{side}"]] = np.deg2rad(4.0) * np.sin(2 * np.pi * phase - 0.4)
    right = phases[:, 0]
    turn = np.deg2rad(5.0) * np.sin(2 * np.pi * right)
    hike = np.deg2rad(style.hike) * (swinging[:, 1] - swinging[:, 0])
    poses[:, _COLUMN["pelvis_tilt"]] = -np.deg2rad(style.lean) + np.deg2rad(1.2) * np.sin(4 * np.pi * right)
    poses[:, _COLUMN["pelvis_list"]] = np.deg2rad(4.0) * np.sin(2 * np.pi * (right - 0.02)) + hike
    poses[:, _COLUMN["pelvis_rotation"]] = turn
    sway = np.deg2rad(1.5) * np.sin(4 * np.pi * right)
    poses[:, _COLUMN["lumbar_extension"]] = -np.deg2rad(4.0 + style.lean / 2) + sway
    poses[:, _COLUMN["lumbar_bending"]] = -0.6 * poses[:, _COLUMN["pelvis_list"]]
    poses[:, _COLUMN["lumbar_rotation"]] = -1.4 * turn
    return poses


def _loads(phases: Array, style: Style) -> Array:
    """Vertical force of both feet ``(frames, 2)``, 1 on average over a stance."""
    return vertical_shape(phases % 1 / style.stance, style.valley)


def _ground_speed(poses: Array, phases: Array, style: Style, skeleton: Skeleton) -> float:
    """Speed at which the body must travel so that, on average, loaded feet do not slide (m/s)."""
    feet = np.add(*map(per_foot, heels_and_toes(poses, skeleton))) / 2
    backwards = -np.gradient(feet[:, :, 0], axis=0) * FPS
    loads = _loads(phases, style)
    return float((backwards * loads).sum() / loads.sum())


def _match_speed(poses: Array, phases: Array, style: Style, skeleton: Skeleton, speed: float) -> Array:
    """Poses whose hips swing as far as ``speed`` needs (a few secant steps on the width of the swing)."""
    hips = [_COLUMN["hip_flexion_r"], _COLUMN["hip_flexion_l"]]
    mean = poses[:, hips].mean(0)

    def swung(width: float) -> Array:
        changed = poses.copy()
        changed[:, hips] = mean + width * (poses[:, hips] - mean)
        return changed

    before, now = 0.8, 1.0
    gap = _ground_speed(swung(before), phases, style, skeleton) - speed
    for _ in range(6):
        new_gap = _ground_speed(swung(now), phases, style, skeleton) - speed
        if abs(new_gap) < 1e-4 or abs(new_gap - gap) < 1e-9:
            break
        before, now, gap = now, float(np.clip(now - new_gap * (now - before) / (new_gap - gap), 0.2, 2.5)), new_gap
    return swung(now)


def _forces(style: Style, who: Person, phases: Array, speed: float) -> Array:
    """Forces of both feet ``(frames, 6)``, newtons; the vertical ones are body weight on average over a stride.

    They brake, then push, with no effect on average, the harder the faster; each foot pushes the body sideways.
    """
    loads = _loads(phases, style)
    progress = phases % 1 / style.stance
    weight = who.mass * GRAVITY
    vertical = weight / (2 * style.stance) * loads
    push = np.where(progress <= 1, -np.sin(2 * np.pi * np.clip(progress, 0, 1)), 0.0)
    forward = weight * min(0.12 * speed, 0.3) * push
    sideways = np.array([-1.0, 1.0]) * 0.05 * vertical  # right foot pushes to the left
    return np.stack([forward, vertical, sideways], -1).reshape(len(phases), 6)


def _travel(speed: float, rate: float, phase: Array, time: Array) -> Array:
    """Forward position ``(frames,)``: steady speed, a little faster and slower twice a stride."""
    wave = 0.04 * speed / (4 * np.pi * rate)
    return speed * time + wave * np.sin(4 * np.pi * phase)


def _height(poses: Array, forces: Array, who: Person, skeleton: Skeleton) -> Array:
    """Pelvis height ``(frames,)``: rises and falls as the vertical force says, over feet that stand on the floor."""
    vertical = per_foot(forces)[:, :, 1].sum(1)
    acceleration = vertical / who.mass - GRAVITY
    frequency = np.fft.rfftfreq(2 * len(poses), 1 / FPS)
    mirrored = np.concatenate([acceleration, acceleration[::-1]])
    spectrum = np.fft.rfft(mirrored)
    quick = frequency > 0.8  # what is slower than half a stride is drift of the sum, not of the body
    integrated = np.where(quick, -spectrum / np.where(quick, 2 * np.pi * frequency, 1) ** 2, 0)
    bounce = np.fft.irfft(integrated, 2 * len(poses))[: len(poses)]
    level = poses.copy()
    level[:, _COLUMN["pelvis_ty"]] = 0
    lowest = np.minimum(*(per_foot(ends)[:, :, 1] for ends in heels_and_toes(level, skeleton)))
    loads = per_foot(forces)[:, :, 1]
    floor = float((lowest * loads).sum() / loads.sum())
    result: Array = bounce - floor
    return result


def _pressure(heels: Array, toes: Array, phases: Array, style: Style) -> Array:
    """Centres of pressure ``(frames, 6)``: on the floor, from the heel towards the toe over a stance."""
    progress = np.clip(phases % 1 / style.stance, 0, 1)[:, :, None]
    place = per_foot(heels) + TOE_OFF_REACH * progress * (per_foot(toes) - per_foot(heels))
    place[:, :, 1] = 0.0
    return place.reshape(len(heels), 6)
