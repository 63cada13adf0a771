"""GaitDynamics' trials and data preparation against the authors' code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmu.gait import columns
from hmu.gait.columns import WINDOW
from hmu.gait.filters import Array, lowpass
from hmu.gait.normaliser import MinMax
from hmu.gait.npz import TrialFile
from hmu.gait.preprocess import (
    POSE_CUTOFF,
    align,
    assemble,
    heels_and_toes,
    normed_cops,
    pose_matrices,
)
from hmu.gait.skeleton import Skeleton
from hmu.gait.trial import Trial, read_trial
from hmu.gait.windows import trial_files
from tests.parity.case import Case, read_arrays, strange
from tests.parity.checks import Check, compare, exact
from tests.parity.gait_models import DATA, FILE, normaliser_of
from tests.parity.gait_recording import (
    resample_upstream,
    starts,
)

GROUPS = {
    "root": columns.ROOT_COLUMNS,
    "angles": columns.ANGLE_COLUMNS,
    "kinetics": columns.KINETIC_COLUMNS,
    "rotations": columns.ROTATION_COLUMNS,
    "angular velocity": columns.states(columns.ANGULAR),
    "angle velocity": columns.states(columns.ANGLE_VELOCITIES),
}


def by_group(label: str, ours: NDArray, expected: NDArray) -> Iterator[Check]:
    """States compared group by group: their units differ by orders of magnitude."""
    if ours.shape != expected.shape:
        yield exact(f"{label} shape", ours.shape, expected.shape)
        return
    for name, chosen in GROUPS.items():
        yield compare(f"{label} {name}", ours[..., chosen], expected[..., chosen], DATA)


def normalised(states: NDArray, normaliser: MinMax) -> NDArray:
    """States ``(frames, 63)`` normalised in float32."""
    return normaliser.normalise(torch.from_numpy(states.astype(np.float32))).numpy()


# -- trials ------------------------------------------------------------------------------------------------------------
def trials(folder: Path) -> Iterator[Check]:
    """The trial files, the authors' windows (metres, no resampling), their draws, and resampling done properly."""
    yield from strange(folder, "tree", ".npz", ".json")
    case = Case.read(folder, files=("expected.npz",))
    window = int(case.facts.get("window_len", WINDOW))
    normaliser = normaliser_of(case.stored, "normalizer/") if "normalizer/scale_" in case else None
    listed = case.facts.get("trials", [])
    kept: list[Trial] = []
    for path in trial_files(folder / "tree"):
        trial = read_trial(path, folder / "tree")
        if len(trial) >= window:
            told = listed[len(kept)] if len(kept) < len(listed) else {}
            yield from _one_trial(case.under(f"{len(kept)}/"), path, trial, told, window, normaliser)
            kept.append(trial)
    windows = [starts(trial.missing, window, "upstream") for trial in kept]
    totals = {"n_trials": len(kept), "total_windows": sum(map(len, windows))}
    for key in totals.keys() & case.facts.keys():
        yield exact(key, totals[key], int(case.facts[key]))
    for prefix in case.groups(r"picks_seed\d+"):
        yield from _picks(case.under(f"{prefix}/"), kept, windows, window, normaliser)
    yield from _resampling(case, kept)
    if "model_offsets" in case:
        yield exact("model_offsets", bool((case.raw("model_offsets") == np.eye(4)[:, :, None]).all()), True)
    case.used |= {name for name in case.stored if name.startswith("normalizer/")}
    yield from case.unread()


def _one_trial(
    case: Case, path: Path, trial: Trial, listed: Mapping[str, Any], window: int, normaliser: MinMax | None
) -> Iterator[Check]:
    number = case.at.rstrip("/")
    ours = {
        "file": f"{trial.name}.npz",
        "T": len(trial),
        "C": trial.states.shape[1],
        "height_m": trial.height,
        "weight_kg": trial.mass,
        "sampling_rate": trial.fps,
        "sub_and_trial_name": trial.name.replace("/", "_"),
    }
    for key in ours.keys() & listed.keys():
        yield exact(f"{number} {key}", ours[key], listed[key])
    with TrialFile(path) as file:
        names = file.strings("model_states_columns")
    available = starts(trial.missing, window, "upstream")
    yield from case.given({"available_win_start": available, "pos_vec": trial.start}, FILE)
    yield from case.given({"map_idx": [names.index(name) for name in columns.STATES]}, FILE)
    if normaliser is not None:
        states = normalised(trial.states, normaliser)
        windows = [m[0] for m in case.find(r"window_normalised/\d+")]
        cuts = {name: int(name.rpartition("/")[2]) for name in windows}
        yield from case.given({name: states[start : start + window] for name, start in cuts.items()}, FILE)


def _picks(
    case: Case, kept: list[Trial], windows: list[NDArray[np.int64]], window: int, normaliser: MinMax | None
) -> Iterator[Check]:
    """The authors draw a trial, then one of its starts, both uniformly, from numpy's global generator."""
    generator = np.random.RandomState(int(re.sub(r"\D", "", case.at)))
    drawn = []
    for _ in range(len(case.raw("i_trial"))):
        which = generator.randint(0, len(kept))
        drawn.append((which, int(generator.choice(windows[which]))))
    which, start = drawn[0]
    outputs: dict[str, Any] = {
        "i_trial": [a for a, _ in drawn],
        "start": [b for _, b in drawn],
        "height_m": [kept[a].height for a, _ in drawn],
        "cond": np.zeros_like(case.raw("cond")) if "cond" in case else None,  # conditions are empty
    }
    if normaliser is not None:
        outputs["first_window"] = normalised(kept[which].states[start : start + window], normaliser)
    yield from case.given(outputs, FILE)


def _resampling(case: Case, kept: list[Trial]) -> Iterator[Check]:
    for text, length in case.facts.get("linear_resample_lengths", {}).items():
        frames, before, after = (float(word) for word in re.split(r"@|->", text))
        ours = resample_upstream(np.zeros(int(frames)), before, after)
        yield exact(f"length of {text}", len(ours), length)
    for found in case.find(r"resample/.*?(\d+)_to_(\d+).*"):
        name, old, new = found[0], float(found[1]), float(found[2])
        if name.startswith("resample/linear"):
            slow = next(trial for trial in kept if trial.fps == old)
            yield from by_group(name, resample_upstream(slow.states, old, new), case.raw(name))
        elif raw := next(iter(sorted(case.folder.glob("raw*.npz"))), None):
            yield from by_group(name, _exported(raw, case.facts.get(raw.stem, {}), old, new), case.raw(name))


def _exported(path: Path, facts: Mapping[str, Any], old: float, new: float) -> Array:
    """The authors' exporter: resample, low-pass the poses, then convert; root in metres from frame 0.

    Their heels come from the filtered poses through the skeleton engine; the stored ones are corrected by how much an
    average skeleton says that filtering moves them.
    """
    raw = read_arrays(path)
    mass, height = float(facts["mass_kg"]), float(facts["height_m"])
    average = Skeleton.generic(height)
    poses, forces, cops, heels = (
        resample_upstream(raw[name], old, new) for name in ("poses", "forces", "cops", "calcn_rl")
    )
    smooth = lowpass(poses, POSE_CUTOFF, new)
    before = resample_upstream(heels_and_toes(raw["poses"], average)[0], old, new)
    heels = heels + heels_and_toes(smooth, average)[0] - before
    kinetics = np.concatenate([forces / mass, normed_cops(forces, cops, heels, mass, height)], 1)
    turned, kinetics, _ = align(smooth, kinetics, path.name, "upstream")
    root = turned[:, columns.osim(columns.ROOT)]
    ordered = kinetics.reshape(-1, 2, 2, 3).swapaxes(1, 2).reshape(-1, 12)
    return assemble(pose_matrices(turned), turned[:, columns.osim(columns.ANGLES)], ordered, root - root[0], new)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"trials": trials}
