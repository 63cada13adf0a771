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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, ListConfig

from hmu.errors import ConfigError
from hmu.progress import phase
from hmu.tools.gait_numbers import Group, log_speeds, measured, quality, style_of
from hmu.tools.generate_files import RECORDS
from hmu.tools.prompts import ASKED, Limits, asked_frames

if TYPE_CHECKING:
    from torch import Tensor

    from hmu.backbones.base import MotionBackbone
    from hmu.backbones.gaitdynamics import GaitDynamics
    from hmu.gait.trial import Trial
    from hmu.outputs import Output

log = logging.getLogger(__name__)

ANIMATIONS = ("gif", "none")
PLOTS = {"cycles": "plots/cycles.png", "pressure": "plots/pressure.png"}
SHOWN = 4  # windows of each group that are animated


@dataclass(frozen=True)
class Asked:
    """What the configuration asks for, checked.

    Attributes:
        speeds: m/s, one group of windows each; None = as the model likes.
        windows: per group. frames: of each. trial: a recording to complete instead; known: what it gives.
    """

    speeds: tuple[float | None, ...]
    windows: int
    frames: int
    trial: Path | None
    known: str


def asked(config: DictConfig, backbone: MotionBackbone) -> Asked:
    """Refuse what cannot be generated, in one line. Raises :class:`ConfigError`."""
    node = config.gait
    text = [key for key in ASKED if config[key] is not None]
    if text:
        raise ConfigError(
            f"{text[0]}=: {backbone.name} reads no text; ask with gait.speed=, gait.windows= or gait.trial="
        )
    if config.animation not in ANIMATIONS:
        raise ConfigError(f"animation={config.animation}: gait is animated as {' or '.join(ANIMATIONS)}")
    if config.bvh != "none":
        raise ConfigError(f"bvh={config.bvh}: gait is written as OpenSim tables and .csv; leave bvh out")
    speeds = list(node.speed) if isinstance(node.speed, ListConfig) else [node.speed]
    if node.trial is not None and speeds != [None]:
        raise ConfigError("gait.trial and gait.speed: a recording has its own speed; give one of the two")
    frames = asked_frames(config.length, config.seconds, backbone.fps)
    limits = Limits(backbone.fps, 1, backbone.min_frames, backbone.max_frames)
    length = backbone.max_frames if frames is None else limits.fit(frames, "length")
    chosen = tuple(None if speed is None else float(speed) for speed in speeds)
    return Asked(chosen, int(node.windows), length, None if node.trial is None else Path(node.trial), str(node.known))


def run(
    config: DictConfig,
    backbone: MotionBackbone,
    change: AbstractContextManager[object],
    edits: list[dict[str, Any]],
    place: Output,
) -> list[dict[str, Any]]:
    """Generate what ``config.gait`` asks for; returns the records.

    Args:
        config: ``configs/generate.yaml``. backbone: on its device. change: edits on it, entered while it is asked.
        edits: what they are, for the records. place: the claimed folder.
    """
    from hmu.backbones.gaitdynamics import GaitDynamics
    from hmu.documents import write_json

    wanted, out = asked(config, backbone), place.folder
    if not isinstance(backbone, GaitDynamics):
        raise ConfigError(f"{backbone.name} reads no text: of such backbones this tool asks those of gait only")
    with change, phase("generating"):
        one = wanted.trial is not None
        made = [complete(backbone, wanted, config)] if one else list(sweep(backbone, wanted, config))
    animated = SHOWN if config.animation != "none" else 0
    stems = [(f"{name}-{number:03d}", number < animated) for name, _, trials in made for number in range(len(trials))]
    names = [name for stem, animate in stems for name in files_of(stem, animate=animate).values()]
    place.begin([RECORDS, *names, *PLOTS.values()])  # only now, when nothing the user gave can be wrong any more
    records = []
    for name, speed, trials in made:
        for number, trial in enumerate(trials):
            stem = f"{name}-{number:03d}"
            files = write(out, stem, trial, animate=number < animated)
            facts: dict[str, Any] = {"speed_asked": speed, "statistics": measured(trial), "style": style_of(trial)}
            if trial.notes.get("quality"):
                facts["quality"] = trial.notes["quality"]
            facts |= {"length": len(trial), "seed": int(config.seed), "files": files, "edits": edits}
            records.append({"name": stem, **facts})
    plots = plot(out, made)
    records[0]["files"] |= plots
    write_json(out / RECORDS, records)
    log_speeds(made)
    log.info("wrote %d windows to %s", len(records), out)
    return records


def sweep(backbone: GaitDynamics, wanted: Asked, config: DictConfig) -> Iterator[Group]:
    """A group of windows per speed; equal noise for every speed."""
    import torch

    from hmu.evaluation.generation import checked

    height = float(config.gait.height)
    for speed in wanted.speeds:
        guide = None if speed is None else backbone.mean_speed(speed, height)
        generator = torch.Generator().manual_seed(int(config.seed))
        parts = []
        for start in range(0, wanted.windows, int(config.batch_size)):
            count = min(int(config.batch_size), wanted.windows - start)
            lengths = torch.full((count,), wanted.frames)
            answer = backbone.generate(lengths, columns=guide, generator=generator, steps=config.steps)
            parts.append(checked(answer, backbone))
        name = "free" if speed is None else f"speed{speed:.2f}"
        yield name, speed, [as_trial(window, config) for window in torch.cat(parts)]


def as_trial(window: Tensor, config: DictConfig) -> Trial:
    """A generated window ``(frames, 63)`` as a trial of the configured body, standing on the floor."""
    import numpy as np

    from hmu.gait.columns import FPS
    from hmu.gait.figure import gait_stick_figure
    from hmu.gait.trial import Trial

    height, mass = float(config.gait.height), float(config.gait.mass)
    pelvis = float(gait_stick_figure(window, height).positions[0, 0, 1])
    states, missing = window.double().numpy(), np.zeros(len(window), dtype=bool)
    return Trial(states, missing, height, mass, FPS, np.array([0.0, pelvis, 0.0]), "velocity", label="generated")


def complete(backbone: GaitDynamics, wanted: Asked, config: DictConfig) -> Group:
    """The recording with what it does not give generated, and how far that is from what it does hold."""
    from dataclasses import replace

    import torch

    from hmu.backbones.gaitdynamics.complete import complete as fill
    from hmu.backbones.gaitdynamics.complete import unseen
    from hmu.evaluation.generation import checked
    from hmu.gait import columns
    from hmu.gait.standard import standard
    from hmu.gait.trial import read_trial

    assert wanted.trial is not None
    trial, said = standard(read_trial(wanted.trial))
    for line in said:
        log.info("%s: %s", wanted.trial, line)
    if len(trial) < backbone.min_frames:
        raise ConfigError(f"gait.trial={wanted.trial}: {len(trial)} frames, expected at least {backbone.min_frames}")
    if wanted.known == "forces" and trial.missing.all():
        raise ConfigError(f"gait.trial={wanted.trial}: all its forces are marked as missing; say gait.known=kinematics")
    known = columns.KINEMATIC_COLUMNS if wanted.known == "kinematics" else columns.KINETIC_COLUMNS
    hidden = [columns.STATES[i] for i in unseen(backbone, torch.from_numpy(trial.states), known)]
    if hidden:
        log.warning("outside what the model was trained on, so not shown to it: %s", ", ".join(hidden))
    generator = torch.Generator().manual_seed(int(config.seed))
    filled = fill(backbone, torch.from_numpy(trial.states), known, generator=generator, steps=config.steps)
    checked(filled, backbone)
    states = filled.numpy()
    found = "; ".join(f"{name} {value:.3g}" for name, value in quality(trial, states, wanted.known).items())
    found = found or "it holds nothing to compare with"
    log.info("%s known, the rest generated, against the recording: %s", wanted.known, found)
    missing = trial.missing & (wanted.known == "forces")  # generated forces are there everywhere
    done = replace(trial, states=states, missing=missing, notes={**trial.notes, "quality": found})
    return f"{wanted.trial.stem}-from-{wanted.known}", None, [done]


def files_of(stem: str, *, animate: bool) -> dict[str, str]:
    """The files of one trial by kind, relative to ``out``."""
    files = {"trial": f"trials/{stem}.npz", "kinematics": f"mot/{stem}_ik.mot", "forces": f"mot/{stem}_grf.mot"}
    files["table"] = f"csv/{stem}.csv"
    return files | ({"animation": f"animations/{stem}.gif"} if animate else {})


def write(out: Path, stem: str, trial: Trial, *, animate: bool) -> dict[str, str]:
    """Write one trial in all forms; returns the files relative to ``out``."""
    import torch

    from hmu.documents import write_bytes
    from hmu.gait.export import export_coordinates, export_forces
    from hmu.gait.figure import gait_stick_figure
    from hmu.gait.trial import write_trial

    files = files_of(stem, animate=animate)
    write_trial(out / files["trial"], trial)
    export_coordinates(out / files["kinematics"], trial)
    export_forces(out / files["forces"], trial)
    write_bytes(out / files["table"], table(trial).encode())
    if animate:
        from hmu.gait.representation import GAIT
        from hmu.viz.animate import render_gif
        from hmu.viz.gait import VIEW

        panel = ("", gait_stick_figure(torch.from_numpy(trial.states), trial.height))
        render_gif([panel], out / files["animation"], GAIT.stick, **VIEW)
    return files


def table(trial: Trial) -> str:
    """Time, the 23 coordinates (radians, metres), forces (N) and centres of pressure (m) of both feet, as CSV."""
    import numpy as np

    from hmu.gait.columns import COORDINATES
    from hmu.gait.export import forces_of, poses_from

    force, pressure = forces_of(trial)
    names = [f"{side}_{kind}_{axis}" for kind in ("force", "cop") for side in ("right", "left") for axis in "xyz"]
    time = np.arange(len(trial))[:, None] / trial.fps
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["time", *COORDINATES, *names])
    rows = np.concatenate([time, poses_from(trial), force, pressure], 1)
    writer.writerows([f"{value:.6g}" for value in row] for row in rows.tolist())
    return buffer.getvalue()


def plot(out: Path, made: Sequence[Group]) -> dict[str, str]:
    """Curves over the gait cycle and paths of pressure, a group each; returns the files relative to ``out``."""
    import torch

    from hmu.gait.cycles import gait_cycles
    from hmu.gait.figure import gait_stick_figure
    from hmu.viz.gait import cycle_plot, pressure_plot

    files = {}
    windows = {name: torch.stack([torch.from_numpy(trial.states) for trial in trials]) for name, _, trials in made}
    cycles = {name: gait_cycles(found) for name, found in windows.items()}
    if any(map(len, cycles.values())):
        files["cycles"] = PLOTS["cycles"]
        cycle_plot(cycles, out / files["cycles"])
    figures = {name: gait_stick_figure(found, made[0][2][0].height) for name, found in windows.items()}
    if any(bool((figure.arrows[..., 1, 1] > figure.arrows[..., 0, 1]).any()) for figure in figures.values()):
        files["pressure"] = PLOTS["pressure"]
        pressure_plot(figures, out / files["pressure"])
    return files
