"""Generate windows of gait: ``python -m hmu.tools.generate backbone=gait_demo gait.speed=[0.8,1.2,1.6]``.

What :mod:`hmu.tools.generate` does for a backbone that reads no text. Writes into ``out``: ``trials/*.npz`` (the layout
of every gait trial), ``mot/*_ik.mot`` and ``mot/*_grf.mot`` (OpenSim), ``csv/*.csv`` (both together), ``animations/*``,
``plots/*.png`` and ``records.json`` (files, edits, statistics and style of each).
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig
from torch import Tensor

from hmu.backbones.base import MotionBackbone
from hmu.backbones.gaitdynamics import GaitDynamics
from hmu.backbones.gaitdynamics.complete import complete as fill
from hmu.backbones.gaitdynamics.complete import unseen
from hmu.documents import write_bytes, write_json
from hmu.errors import ConfigError
from hmu.evaluation.generation import checked
from hmu.gait import columns
from hmu.gait.cycles import gait_cycles
from hmu.gait.export import export_coordinates, export_forces, forces_of, poses_from
from hmu.gait.figure import gait_stick_figure
from hmu.gait.representation import GAIT
from hmu.gait.standard import standard
from hmu.gait.trial import Trial, read_trial, write_trial
from hmu.outputs import Output
from hmu.progress import phase
from hmu.tools.gait_numbers import Group, log_speeds, measured, quality, style_of
from hmu.tools.generate_text import RECORDS
from hmu.tools.prompts import ASKED, Limits, asked_frames
from hmu.viz.animate import render_gif
from hmu.viz.gait import VIEW, cycle_plot, pressure_plot

log = logging.getLogger(__name__)

ANIMATIONS = ("gif", "none")
PLOTS = {"cycles": "plots/cycles.png", "pressure": "plots/pressure.png"}
ANIMATED = 4  # windows of each group that are animated


def asked(config: DictConfig, backbone: MotionBackbone) -> tuple[list[float | None], int]:
    """Speeds (m/s, one group of windows each; None = as the model likes) and frames of a window.

    Raises:
        ConfigError: what cannot be generated, in one line.
    """
    text = [key for key in ASKED if config[key] is not None]
    if text:
        raise ConfigError(
            f"{text[0]}=: {backbone.name} reads no text; ask with gait.speed=, gait.windows= or gait.trial="
        )
    if config.animation not in ANIMATIONS:
        raise ConfigError(f"animation={config.animation}: gait is animated as {' or '.join(ANIMATIONS)}")
    if config.bvh != "none":
        raise ConfigError(f"bvh={config.bvh}: gait is written as OpenSim tables and .csv; leave bvh out")
    speed = config.gait.speed
    speeds = list(speed) if isinstance(speed, ListConfig) else [speed]
    if config.gait.trial is not None and speeds != [None]:
        raise ConfigError("gait.trial and gait.speed: a recording has its own speed; give one of the two")
    frames = asked_frames(config.length, config.seconds, backbone.fps)
    limits = Limits(backbone.fps, 1, backbone.min_frames, backbone.max_frames)
    length = backbone.max_frames if frames is None else limits.fit(frames, "length")
    return [None if speed is None else float(speed) for speed in speeds], length


def run(
    config: DictConfig,
    backbone: MotionBackbone,
    change: AbstractContextManager[object],
    edits: list[dict[str, Any]],
    place: Output,
) -> list[dict[str, Any]]:
    """Generate what ``config.gait`` asks for; returns the records.

    Args:
        change: edits on the backbone, entered while it is asked. edits: what they are, for the records.
    """
    (speeds, frames), out = asked(config, backbone), place.folder
    if not isinstance(backbone, GaitDynamics):
        raise ConfigError(f"{backbone.name} reads no text: of such backbones this tool asks those of gait only")
    with change, phase("generating"):
        if config.gait.trial is None:
            groups = list(sweep(backbone, speeds, frames, config))
        else:
            groups = [complete(backbone, Path(config.gait.trial), config)]
    most = ANIMATED if config.animation != "none" else 0
    windows = [(f"{name}-{n:03d}", speed, trial, n < most) for name, speed, of in groups for n, trial in enumerate(of)]
    names = [file for stem, _, _, animate in windows for file in files_of(stem, animate=animate).values()]
    place.begin([RECORDS, *names, *PLOTS.values()])  # only now, when nothing the user gave can be wrong any more
    records = []
    for stem, speed, trial, animate in windows:
        files = write(out, stem, trial, animate=animate)
        facts: dict[str, Any] = {"speed_asked": speed, "statistics": measured(trial), "style": style_of(trial)}
        if trial.notes.get("quality"):
            facts["quality"] = trial.notes["quality"]
        facts |= {"length": len(trial), "seed": int(config.seed), "files": files, "edits": edits}
        records.append({"name": stem, **facts})
    records[0]["files"] |= plot(out, groups)
    write_json(out / RECORDS, records)
    log_speeds(groups)
    log.info("wrote %d windows to %s", len(records), out)
    return records


def sweep(backbone: GaitDynamics, speeds: Sequence[float | None], frames: int, config: DictConfig) -> Iterator[Group]:
    """A group of windows per speed; equal noise for every speed."""
    windows, size = int(config.gait.windows), int(config.batch_size)
    for speed in speeds:
        guide = None if speed is None else backbone.mean_speed(speed, float(config.gait.height))
        generator = torch.Generator().manual_seed(int(config.seed))
        parts = []
        for start in range(0, windows, size):
            lengths = torch.full((min(size, windows - start),), frames)
            motion = backbone.generate(lengths, columns=guide, generator=generator, steps=config.steps)
            parts.append(checked(motion, backbone))
        name = "free" if speed is None else f"speed{speed:.2f}"
        yield name, speed, [as_trial(window, config) for window in torch.cat(parts)]


def as_trial(window: Tensor, config: DictConfig) -> Trial:
    """A generated window ``(frames, 63)`` as a trial of the configured body, standing on the floor."""
    height, mass = float(config.gait.height), float(config.gait.mass)
    pelvis = float(gait_stick_figure(window, height).positions[0, 0, 1])
    states, missing = window.double().numpy(), np.zeros(len(window), dtype=bool)
    return Trial(
        states, missing, height, mass, columns.FPS, np.array([0.0, pelvis, 0.0]), "velocity", label="generated"
    )


def complete(backbone: GaitDynamics, path: Path, config: DictConfig) -> Group:
    """The recording with what it does not give generated, and how far that is from what it does hold."""
    given = str(config.gait.known)
    trial, notes = standard(read_trial(path))
    for note in notes:
        log.info("%s: %s", path, note)
    if len(trial) < backbone.min_frames:
        raise ConfigError(f"gait.trial={path}: {len(trial)} frames, expected at least {backbone.min_frames}")
    if given == "forces" and trial.missing.all():
        raise ConfigError(f"gait.trial={path}: all its forces are marked as missing; say gait.known=kinematics")
    known = columns.KINEMATIC_COLUMNS if given == "kinematics" else columns.KINETIC_COLUMNS
    hidden = [columns.STATES[i] for i in unseen(backbone, torch.from_numpy(trial.states), known)]
    if hidden:
        log.warning("outside what the model was trained on, so not shown to it: %s", ", ".join(hidden))
    generator = torch.Generator().manual_seed(int(config.seed))
    filled = fill(backbone, torch.from_numpy(trial.states), known, generator=generator, steps=config.steps)
    checked(filled, backbone)
    states = filled.numpy()
    errors = "; ".join(f"{name} {value:.3g}" for name, value in quality(trial, states, given).items())
    errors = errors or "it holds nothing to compare with"
    log.info("%s known, the rest generated, against the recording: %s", given, errors)
    missing = trial.missing & (given == "forces")  # generated forces are there everywhere
    done = replace(trial, states=states, missing=missing, notes={**trial.notes, "quality": errors})
    return f"{path.stem}-from-{given}", None, [done]


def files_of(stem: str, *, animate: bool) -> dict[str, str]:
    """The files of one trial by kind, relative to ``out``."""
    files = {
        "trial": f"trials/{stem}.npz",
        "kinematics": f"mot/{stem}_ik.mot",
        "forces": f"mot/{stem}_grf.mot",
        "table": f"csv/{stem}.csv",
    }
    return files | ({"animation": f"animations/{stem}.gif"} if animate else {})


def write(out: Path, stem: str, trial: Trial, *, animate: bool) -> dict[str, str]:
    """Write one trial in all forms; returns the files relative to ``out``."""
    files = files_of(stem, animate=animate)
    write_trial(out / files["trial"], trial)
    export_coordinates(out / files["kinematics"], trial)
    export_forces(out / files["forces"], trial)
    write_bytes(out / files["table"], table(trial).encode())
    if animate:
        panel = ("", gait_stick_figure(torch.from_numpy(trial.states), trial.height))
        render_gif([panel], out / files["animation"], GAIT.stick, **VIEW)
    return files


def table(trial: Trial) -> str:
    """Time, the 23 coordinates (radians, metres), forces (N) and centres of pressure (m) of both feet, as CSV."""
    force, pressure = forces_of(trial)
    names = [f"{side}_{kind}_{axis}" for kind in ("force", "cop") for side in ("right", "left") for axis in "xyz"]
    time = np.arange(len(trial))[:, None] / trial.fps
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["time", *columns.COORDINATES, *names])
    rows = np.concatenate([time, poses_from(trial), force, pressure], 1)
    writer.writerows([f"{value:.6g}" for value in row] for row in rows.tolist())
    return buffer.getvalue()


def plot(out: Path, groups: Sequence[Group]) -> dict[str, str]:
    """Curves over the gait cycle and paths of pressure, a group each; returns the files relative to ``out``."""
    files = {}
    windows = {name: torch.stack([torch.from_numpy(trial.states) for trial in trials]) for name, _, trials in groups}
    cycles = {name: gait_cycles(states) for name, states in windows.items()}
    if any(map(len, cycles.values())):
        files["cycles"] = PLOTS["cycles"]
        cycle_plot(cycles, out / files["cycles"])
    figures = {name: gait_stick_figure(states, groups[0][2][0].height) for name, states in windows.items()}
    if any(bool((figure.arrows[..., 1, 1] > figure.arrows[..., 0, 1]).any()) for figure in figures.values()):
        files["pressure"] = PLOTS["pressure"]
        pressure_plot(figures, out / files["pressure"])
    return files
