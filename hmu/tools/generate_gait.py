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

if TYPE_CHECKING:
    from torch import Tensor

    from hmu.backbones.gaitdynamics import GaitDynamics
    from hmu.gait.trial import Trial

log = logging.getLogger(__name__)

ANIMATIONS = ("gif", "none")
KNOWN = ("kinematics", "forces")
SHOWN = 4  # windows of each group that are animated
Group = tuple[str, "float | None", "list[Trial]"]  #: name, asked speed, its windows


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


def asked(config: DictConfig, backbone: GaitDynamics) -> Asked:
    """Refuse what cannot be generated, in one line. Raises :class:`ConfigError`."""
    from hmu.tools.prompts import Limits, asked_frames

    node = config.gait
    text = [key for key in ("prompt", "prompts", "split") if config[key] is not None]
    if text:
        raise ConfigError(
            f"{text[0]}=: {backbone.name} reads no text; ask with gait.speed=, gait.windows= or gait.trial="
        )
    if config.animation not in ANIMATIONS:
        raise ConfigError(f"animation={config.animation}: gait is animated as {' or '.join(ANIMATIONS)}")
    if isinstance(node.windows, bool) or not isinstance(node.windows, int) or node.windows < 1:
        raise ConfigError(f"gait.windows={node.windows}: expected a whole number of at least 1")
    for key, (low, high) in {"height": (0.5, 2.5), "mass": (10, 250)}.items():
        if not low <= float(node[key]) <= high:
            raise ConfigError(f"gait.{key}={node[key]}: expected {low} to {high}")
    if node.known not in KNOWN:
        raise ConfigError(f"gait.known={node.known}: expected {' or '.join(KNOWN)}")
    speeds = list(node.speed) if isinstance(node.speed, ListConfig) else [node.speed]
    if node.trial is not None and speeds != [None]:
        raise ConfigError("gait.trial and gait.speed: a recording has its own speed; give one of the two")
    for speed in speeds:
        if speed is not None and (isinstance(speed, (bool, str)) or not 0 < float(speed) < 10):
            raise ConfigError(f"gait.speed={speed}: expected metres per second above 0, or a list of them")
    frames = asked_frames(config.length, config.seconds, backbone.fps)
    limits = Limits(backbone.fps, 1, backbone.min_frames, backbone.max_frames)
    length = backbone.max_frames if frames is None else limits.fit(frames, "length")
    chosen = tuple(None if speed is None else float(speed) for speed in speeds)
    return Asked(chosen, int(node.windows), length, None if node.trial is None else Path(node.trial), str(node.known))


def run(
    config: DictConfig,
    backbone: GaitDynamics,
    change: AbstractContextManager[object],
    edits: list[dict[str, Any]],
    old: Sequence[Path] = (),
) -> list[dict[str, Any]]:
    """Generate what ``config.gait`` asks for; returns the records.

    Args:
        config: ``configs/generate.yaml``. backbone: on its device. change: edits on it, entered while it is asked.
        edits: what they are, for the records. old: files of an earlier call that are given up.
    """
    from hmu.checkpoints.safe import write_json
    from hmu.tools.generate import RECORDS

    wanted, out = asked(config, backbone), Path(config.out)
    with change:
        one = wanted.trial is not None
        made = [complete(backbone, wanted, config)] if one else list(sweep(backbone, wanted, config))
    for path in old:  # only now, when nothing the user gave can be wrong any more
        path.unlink(missing_ok=True)
    records = []
    for name, speed, trials in made:
        for number, trial in enumerate(trials):
            stem = f"{name}-{number:03d}"
            files = write(out, stem, trial, animate=config.animation != "none" and number < SHOWN)
            facts: dict[str, Any] = {"speed_asked": speed, "statistics": measured(trial), "style": style_of(trial)}
            if trial.notes.get("quality"):
                facts["quality"] = trial.notes["quality"]
            facts |= {"length": len(trial), "seed": int(config.seed), "files": files, "edits": edits}
            records.append({"name": stem, **facts})
    plots = plot(out, made)
    records[0]["files"] |= plots
    write_json(out / RECORDS, records)
    tell(made)
    log.info("wrote %d windows to %s", len(records), out)
    return records


def sweep(backbone: GaitDynamics, wanted: Asked, config: DictConfig) -> Iterator[Group]:
    """A group of windows per speed; equal noise for every speed."""
    import torch

    height = float(config.gait.height)
    for speed in wanted.speeds:
        guide = None if speed is None else backbone.mean_speed(speed, height)
        generator = torch.Generator().manual_seed(int(config.seed))
        parts = []
        for start in range(0, wanted.windows, int(config.batch_size)):
            count = min(int(config.batch_size), wanted.windows - start)
            lengths = torch.full((count,), wanted.frames)
            parts.append(backbone.generate(lengths, columns=guide, generator=generator, steps=config.steps).cpu())
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
    states = fill(backbone, torch.from_numpy(trial.states), known, generator=generator, steps=config.steps).numpy()
    found = "; ".join(f"{name} {value:.3g}" for name, value in quality(trial, states, wanted.known).items())
    found = found or "it holds nothing to compare with"
    log.info("%s known, the rest generated, against the recording: %s", wanted.known, found)
    missing = trial.missing & (wanted.known == "forces")  # generated forces are there everywhere
    done = replace(trial, states=states, missing=missing, notes={**trial.notes, "quality": found})
    return f"{wanted.trial.stem}-from-{wanted.known}", None, [done]


def quality(trial: Trial, states: Any, known: str) -> dict[str, float]:
    """Errors of generated columns ``(frames, 63)`` against a recording, over its frames that are not missing.

    ``kinematics`` known: root mean square and correlation of vertical and forward forces (body weights) of both feet.
    ``forces`` known: root mean square of hip, knee and ankle flexion (degrees), error of the mean speed (m/s).
    """
    import numpy as np
    import torch

    from hmu.gait import columns
    from hmu.gait.states import to_osim
    from hmu.gait.statistics import GRAVITY

    keep = ~trial.missing
    found: dict[str, float] = {}
    if not keep.any():
        return found
    if known == "kinematics":
        for name, axis in (("vertical force", "y"), ("forward force", "x")):
            chosen = columns.states([f"calcn_{side}_force_v{axis}" for side in "rl"])
            ours, true = (x[keep][:, chosen].ravel() / GRAVITY for x in (states, trial.states))
            found[f"{name} error (body weights)"] = float(np.sqrt(((ours - true) ** 2).mean()))
            if ours.std() > 0 and true.std() > 0:
                found[f"{name} correlation"] = float(np.corrcoef(ours, true)[0, 1])
        return found
    ours, true = (to_osim(torch.from_numpy(x), trial.height).numpy()[keep] for x in (states, trial.states))
    for name in ("hip_flexion", "knee_angle", "ankle_angle"):
        chosen = columns.osim([f"{name}_{side}" for side in "rl"])
        found[f"{name} error (degrees)"] = float(np.rad2deg(np.sqrt(((ours - true)[:, chosen] ** 2).mean())))
    forward = columns.ROOT_COLUMNS[0]
    found["speed error (m/s)"] = float((states[keep, forward] - trial.states[keep, forward]).mean() * trial.height)
    return found


def measured(trial: Trial) -> dict[str, float | None]:
    """Statistics of a trial; None where it has none (cadence without two strikes)."""
    import math

    import torch

    from hmu.gait.statistics import statistics
    from hmu.metrics.gait_consistency import stance_speed

    states = torch.from_numpy(trial.states)[None]
    found = statistics(states, trial.height) | {"stance_speed": stance_speed(states, trial.height)}
    return {name: float(value) if math.isfinite(value) else None for name, value in found.items()}


def style_of(trial: Trial) -> str:
    """The style that the kinematic rules see."""
    import torch

    from hmu.gait.rules import styles

    return next(name for name, seen in styles(torch.from_numpy(trial.states)[None]).items() if bool(seen))


def write(out: Path, stem: str, trial: Trial, *, animate: bool) -> dict[str, str]:
    """Write one trial in all forms; returns the files relative to ``out``."""
    import torch

    from hmu.checkpoints.safe import write_bytes
    from hmu.gait.export import export_coordinates, export_forces
    from hmu.gait.figure import gait_stick_figure
    from hmu.gait.trial import write_trial

    files = {"trial": f"trials/{stem}.npz", "kinematics": f"mot/{stem}_ik.mot", "forces": f"mot/{stem}_grf.mot"}
    write_trial(out / files["trial"], trial)
    export_coordinates(out / files["kinematics"], trial)
    export_forces(out / files["forces"], trial)
    files["table"] = f"csv/{stem}.csv"
    write_bytes(out / files["table"], table(trial).encode())
    if animate:
        from hmu.viz.gait import gait_gif

        files["animation"] = f"animations/{stem}.gif"
        gait_gif([("", gait_stick_figure(torch.from_numpy(trial.states), trial.height))], out / files["animation"])
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
        files["cycles"] = "plots/cycles.png"
        cycle_plot(cycles, out / files["cycles"])
    figures = {name: gait_stick_figure(found, made[0][2][0].height) for name, found in windows.items()}
    if any(bool((figure.arrows[..., 1, 1] > figure.arrows[..., 0, 1]).any()) for figure in figures.values()):
        files["pressure"] = "plots/pressure.png"
        pressure_plot(figures, out / files["pressure"])
    return files


def tell(made: Sequence[Group]) -> None:
    """Log how well asked speeds were met, by the pelvis' path and by standing feet; slope and error of a sweep."""
    import numpy as np

    groups = [(speed, [measured(trial) for trial in trials]) for _, speed, trials in made if speed is not None]
    if not groups:
        return
    want = np.array([speed for speed, _ in groups])
    got = {
        name: np.array([np.mean([np.nan if m[key] is None else m[key] for m in found]) for _, found in groups])
        for name, key in (("pelvis", "speed"), ("legs", "stance_speed"))
    }
    for speed, pelvis, legs in zip(want, *got.values(), strict=True):
        log.info("asked for %.2f m/s: pelvis %.3f m/s, legs %.3f m/s", speed, pelvis, legs)
    for name, mean in got.items() if len(groups) > 1 else ():
        slope, error = float(np.polyfit(want, mean, 1)[0]), float(np.abs(mean - want).mean())
        log.info("%s: slope %.3f, mean absolute error %.3f m/s", name, slope, error)
