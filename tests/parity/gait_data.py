"""GaitDynamics' trials and data preparation against the authors' code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.columns import WINDOW
from hmu.gait.filters import Array, lowpass, resample
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
from hmu.gait.recording import Converted, Recording, convert, convert_for_training
from hmu.gait.skeleton import Skeleton
from hmu.gait.trial import Trial, read_trial
from hmu.gait.windows import padded, starts, tile, trial_files
from tests.parity.checks import Check, compare, exact
from tests.parity.gait_files import DATA, FILE, facts, knee, normaliser_of, same_normaliser, skeleton, strange
from tests.parity.salad_files import Arrays

GROUPS = {
    "root": columns.ROOT_COLUMNS,
    "angles": columns.ANGLE_COLUMNS,
    "kinetics": columns.KINETIC_COLUMNS,
    "rotations": columns.ROTATION_COLUMNS,
    "angular velocity": columns.ANGULAR_COLUMNS,
    "angle velocity": columns.ANGLE_VELOCITY_COLUMNS,
}
#: what our reasons for refusing a recording say, by the authors' counters
REASONS = {
    "trial_length": "expected at least",
    "lumbar_rotation": "lumbar rotation",
    "wrong_cop": "centre of pressure",
    "large_moving_direction_change": "heading",
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


# -- trials --------------------------------------------------------------------------------------------------------
def trials(case: Path) -> Iterator[Check]:
    """The trial files, the authors' windows (metres, no resampling), their draws, and resampling done properly."""
    yield from strange(case, {"tree", "expected.npz", "meta.json", "raw_250hz.npz"})
    arrays, meta = Arrays(case / "expected.npz"), facts(case / "meta.json")
    normaliser = normaliser_of(arrays, "normalizer/")
    window = int(meta["window_len"])
    kept: list[Trial] = []
    for path in trial_files(case / "tree"):
        trial = read_trial(path, case / "tree")
        if len(trial) >= window:
            yield from _one_trial(len(kept), path, trial, meta["trials"][len(kept)], window, normaliser, arrays)
            kept.append(trial)
    yield exact("trials", len(kept), int(meta["n_trials"]))
    windows = [starts(trial.missing, window, "upstream") for trial in kept]
    yield exact("total windows", sum(map(len, windows)), int(meta["total_windows"]))
    yield from _picks(kept, windows, window, normaliser, arrays)
    yield from _resampling(case, meta, kept, arrays)
    yield exact("model_offsets", bool((arrays["model_offsets"] == np.eye(4)[:, :, None]).all()), True)
    yield from arrays.unread()


def _one_trial(
    number: int,
    path: Path,
    trial: Trial,
    listed: Mapping[str, Any],
    window: int,
    normaliser: MinMax,
    arrays: Arrays,
) -> Iterator[Check]:
    found = {
        "file": f"{trial.name}.npz",
        "T": len(trial),
        "C": trial.states.shape[1],
        "height_m": trial.height,
        "weight_kg": trial.mass,
        "sampling_rate": trial.fps,
        "sub_and_trial_name": trial.name.replace("/", "_"),
    }
    for key, value in found.items():
        yield exact(f"{number} {key}", value, listed[key])
    available = starts(trial.missing, window, "upstream")
    yield exact(f"{number} windows", available, arrays[f"{number}/available_win_start"])
    yield compare(f"{number} pos_vec", trial.start, arrays[f"{number}/pos_vec"], FILE)
    with TrialFile(path) as file:
        names = file.strings("model_states_columns")
    order = [names.index(name) for name in columns.STATES]
    yield exact(f"{number} order of columns", order, arrays[f"{number}/map_idx"].tolist())
    states = normalised(trial.states, normaliser)
    for name in [n for n in arrays if n.startswith(f"{number}/window_normalised/")]:
        start = int(name.rpartition("/")[2])
        yield compare(f"{number} window {start}", states[start : start + window], arrays[name], FILE)


def _picks(
    kept: list[Trial], windows: list[NDArray[np.int64]], window: int, normaliser: MinMax, arrays: Arrays
) -> Iterator[Check]:
    """The authors draw a trial, then one of its starts, both uniformly, from numpy's global generator."""
    for prefix in sorted({n.split("/")[0] for n in arrays if n.startswith("picks_seed")}):
        generator = np.random.RandomState(int(prefix.removeprefix("picks_seed")))
        drawn = []
        for _ in range(len(arrays[f"{prefix}/i_trial"])):
            which = generator.randint(0, len(kept))
            drawn.append((which, int(generator.choice(windows[which]))))
        yield exact(f"{prefix} trials", [a for a, _ in drawn], arrays[f"{prefix}/i_trial"].tolist())
        yield exact(f"{prefix} starts", [b for _, b in drawn], arrays[f"{prefix}/start"].tolist())
        heights = [kept[a].height for a, _ in drawn]
        yield compare(f"{prefix} heights", heights, arrays[f"{prefix}/height_m"], FILE)
        which, start = drawn[0]
        first = normalised(kept[which].states[start : start + window], normaliser)
        yield compare(f"{prefix} first window", first, arrays[f"{prefix}/first_window"], FILE)
        yield exact(f"{prefix} conditions are empty", bool((arrays[f"{prefix}/cond"] == 0).all()), True)


def _resampling(case: Path, meta: Mapping[str, Any], kept: list[Trial], arrays: Arrays) -> Iterator[Check]:
    for text, length in meta["linear_resample_lengths"].items():
        frames, before, after = (float(word) for word in re.split(r"@|->", text))
        ours = resample(np.zeros(int(frames)), before, after, "upstream")
        yield exact(f"length of {text}", len(ours), length)
    for name in [n for n in arrays if n.startswith("resample/")]:
        old, new = (float(word) for word in re.findall(r"(\d+)_to_(\d+)", name)[0])
        if name.startswith("resample/linear"):
            slow = next(trial for trial in kept if trial.fps == old)
            yield from by_group(name, resample(slow.states, old, new, "upstream"), arrays[name])
        else:
            yield from by_group(name, _exported(case, meta, old, new), arrays[name])


def _exported(case: Path, meta: Mapping[str, Any], old: float, new: float) -> Array:
    """The authors' exporter: resample, low-pass the poses, then convert; root in metres from frame 0.

    Their heels come from the filtered poses through the skeleton engine; the stored ones are corrected by how much an
    average skeleton says that filtering moves them.
    """
    path = next(p for p in case.glob("raw*.npz"))
    raw, facts_ = Arrays(path), meta[path.stem]
    mass, height = float(facts_["mass_kg"]), float(facts_["height_m"])
    average = Skeleton.generic(height)
    poses, forces, cops, heels = (
        resample(raw[name], old, new, "upstream") for name in ("poses", "forces", "cops", "calcn_rl")
    )
    smooth = lowpass(poses, POSE_CUTOFF, new)
    before = resample(heels_and_toes(raw["poses"], average)[0], old, new, "upstream")
    heels = heels + heels_and_toes(smooth, average)[0] - before
    kinetics = np.concatenate([forces / mass, normed_cops(forces, cops, heels, mass, height)], 1)
    turned, kinetics, _ = align(smooth, kinetics, path.name, "upstream")
    root = turned[:, columns.osim(columns.ROOT)]
    ordered = kinetics.reshape(-1, 2, 2, 3).swapaxes(1, 2).reshape(-1, 12)
    return assemble(pose_matrices(turned), turned[:, columns.osim(columns.ANGLES)], ordered, root - root[0], new)


# -- preparation ---------------------------------------------------------------------------------------------------
def preprocess(case: Path) -> Iterator[Check]:
    """Every recording converted or refused as recorded, the fitted normaliser, and the window builders."""
    yield from strange(case, {"expected.npz", "meta.json", ".npz"})
    arrays, meta = Arrays(case / "expected.npz"), facts(case / "meta.json")
    body = skeleton(arrays["model_offsets"], knee(case))
    names = [row["name"] for row in meta["eval_trials_unnormalised"]]
    found: dict[str, Converted] = {}
    parts: dict[str, list[Converted]] = {}
    refused: Counter[str] = Counter()
    for key, subject in meta["subjects"].items():
        yield from _subject(case, key, subject, body, names, found, parts, refused)
    yield exact("accepted", sorted(found), sorted(names))
    counted = {name: count for name, count in meta["excluded_eval"].items() if count}
    yield exact("refused", dict(refused), counted)
    for number, row in enumerate(meta["eval_trials_unnormalised"]):
        yield from _converted(number, row, found[row["name"]], arrays)
    yield from _trained(meta, parts, arrays)
    yield from arrays.unread()


def _subject(
    case: Path,
    key: str,
    subject: Mapping[str, Any],
    body: Skeleton,
    names: list[str],
    found: dict[str, Converted],
    parts: dict[str, list[Converted]],
    refused: Counter[str],
) -> Iterator[Check]:
    """Convert the trials of one subject; the authors swap the feet of all but the first where the left comes first."""
    raw = Arrays(case / str(subject["raw_file"]))
    heels = Arrays(case / str(subject["raw_file"]).replace("__raw", "__calcn"))
    swapped = subject["contact_bodies"][0] == "calcn_l"
    for trial, described in subject["trials"].items():
        forces, cops = raw[f"{trial}/forces"], raw[f"{trial}/cops"]
        if swapped:
            forces, cops = (np.concatenate([x[:, 3:], x[:, :3]], 1) for x in (forces, cops))
        recording = Recording(
            raw[f"{trial}/poses"], forces, cops, raw[f"{trial}/probably_missing"], float(subject["mass_kg"]),
            float(subject["height_m"]), 1 / float(described["timestep_s"]), heels[f"{trial}/calcn_rl"],
        )  # fmt: skip
        name = f"{key.rpartition('/')[2]}__{trial}"
        try:
            converted = convert(recording, body, name=name, source=key, variant="upstream")
        except DataError as error:
            reason = next(counter for counter, words in REASONS.items() if words in str(error))
            refused[reason] += 1
            yield exact(f"{name} refused", name in names, False)
            continue
        if name in names:
            found[name] = converted
            parts[name] = convert_for_training(recording, body, name=name, source=key)
            continue
        # only the authors refuse it: to them its feet are swapped
        yield exact(f"{name} is refused by the authors for its swapped feet", swapped, True)
        wrong = replace(recording, forces=np.roll(recording.forces, 3, 1), cops=np.roll(recording.cops, 3, 1))
        try:
            convert(wrong, body, name=name, source=key, variant="upstream")
        except DataError as error:
            refused[next(counter for counter, words in REASONS.items() if words in str(error))] += 1


def _converted(number: int, row: Mapping[str, Any], converted: Converted, arrays: Arrays) -> Iterator[Check]:
    trial, prefix = converted.trial, f"unnorm/{number}"
    yield exact(f"{prefix} length", len(trial), row["length"])
    yield from by_group(prefix, trial.states, arrays[f"{prefix}/converted_pose"])
    outputs: dict[str, Any] = {
        "rot_mat": converted.turn,
        "pos_vec": trial.start,
        "probably_missing": trial.missing.astype(float),
        "mtp_r_vel": converted.toes[:, 0],
        "mtp_l_vel": converted.toes[:, 1],
    }
    for name, value in outputs.items():
        if f"{prefix}/{name}" in arrays:
            yield compare(f"{prefix} {name}", value, arrays[f"{prefix}/{name}"], DATA)
    available = starts(trial.missing, WINDOW, "upstream")
    yield exact(f"{prefix} windows", available, arrays[f"{prefix}/available_win_start"])


def _trained(meta: Mapping[str, Any], parts: Mapping[str, list[Converted]], arrays: Arrays) -> Iterator[Check]:
    """Training mode: fitted on these trials, normalised; then the window builders."""
    rows = meta["train_trials_normalised"]
    waiting = {name: iter(found) for name, found in parts.items()}  # a trial cut at a jump has several rows
    chosen = [next(waiting[row["name"]]).trial for row in rows]
    yield exact("trained on", [len(trial) for trial in chosen], [row["length"] for row in rows])
    yield exact("parts left over", [name for name, rest in waiting.items() if next(rest, None) is not None], [])
    every = torch.from_numpy(np.concatenate([trial.states for trial in chosen]).astype(np.float32))
    fitted = MinMax(every.shape[1]).fit(every)
    for name, value in fitted.named_buffers():
        yield compare(f"fitted {name}", value, arrays[f"normalizer/{name}"], DATA)
    yield exact("fitted on", fitted.samples, int(arrays["normalizer/n_samples_seen_"]))
    stored = normaliser_of(arrays, "normalizer/")
    yield from same_normaliser("stored", stored, arrays, "normalizer/")
    states = [normalised(trial.states, stored) for trial in chosen]
    for number, trial in enumerate(chosen):
        yield compare(f"train/{number}", states[number], arrays[f"train/{number}/converted_pose"], DATA)
        yield compare(f"train/{number} pos_vec", trial.start, arrays[f"train/{number}/pos_vec"], DATA)
        available = starts(trial.missing, WINDOW, "upstream")
        yield exact(f"train/{number} windows", available, arrays[f"train/{number}/available_win_start"])
    yield from _windows(states, arrays)


def _windows(states: list[NDArray], arrays: Arrays) -> Iterator[Check]:
    """Window builders: back to back, one from the end, overlapping."""
    for name in sorted({n.split("/")[1] for n in arrays if n.startswith("windows/")}):
        prefix = f"windows/{name}/"
        lengths = [len(x) for x in states]
        right = name.startswith("one_from_end")
        if right:
            cuts = [(i, max(n - WINDOW, 0), n) for i, n in enumerate(lengths)]
        else:
            overlap = re.match(r"overlap(\d+)", name)
            step = int(overlap.group(1)) if overlap else WINDOW
            short = not overlap or name.endswith("short")
            cuts = [(i, a, b) for i, n in enumerate(lengths) for a, b in tile(n, WINDOW, step, short=short)]
        listed = {"trial_id": 0, "s": 1, "e": 2}
        for key, place in listed.items():
            if prefix + key in arrays:
                yield exact(f"{name} {key}", [cut[place] for cut in cuts], arrays[prefix + key].tolist())
        chosen = arrays[f"{prefix}index"].tolist() if f"{prefix}index" in arrays else []
        built = [padded(states[i], a, b, WINDOW, right=right) for i, a, b in cuts]
        for row, index in enumerate(chosen):
            yield compare(f"{name} {index}", built[index][0], arrays[f"{prefix}pose"][row], DATA)
            yield exact(f"{name} {index} mask", built[index][1], arrays[f"{prefix}mask"][row])
        if f"{prefix}last_mask" in arrays:
            yield exact(f"{name} last mask", built[-1][1], arrays[f"{prefix}last_mask"])


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"trials": trials, "preprocess": preprocess}
