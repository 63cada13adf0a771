"""GaitDynamics' trials and data preparation against the authors' code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmu.errors import DataError
from hmu.gait import columns
from hmu.gait.columns import WINDOW
from hmu.gait.filters import Array, lowpass
from hmu.gait.normaliser import MinMax
from hmu.gait.npz import TrialFile
from hmu.gait.preprocess import POSE_CUTOFF, align, assemble, heels_and_toes, normed_cops, pose_matrices
from hmu.gait.skeleton import Skeleton
from hmu.gait.trial import Trial, read_trial
from hmu.gait.windows import trial_files
from tests.parity.case import Case, read_arrays
from tests.parity.checks import Checks, compare, exact, unchecked
from tests.parity.gait_models import DATA, FILE, body, normaliser_of, same_normaliser
from tests.parity.gait_recording import (
    Converted,
    Recording,
    convert,
    convert_for_training,
    padded,
    resample_upstream,
    starts,
    tile,
)
from tests.parity.kinds import compares

GROUPS = {
    "root": columns.ROOT_COLUMNS,
    "angles": columns.ANGLE_COLUMNS,
    "kinetics": columns.KINETIC_COLUMNS,
    "rotations": columns.ROTATION_COLUMNS,
    "angular velocity": columns.states(columns.ANGULAR),
    "angle velocity": columns.states(columns.ANGLE_VELOCITIES),
}
#: what our reasons for refusing a recording say, by the authors' counters
REASONS = {
    "trial_length": "expected at least",
    "lumbar_rotation": "lumbar rotation",
    "wrong_cop": "centre of pressure",
    "large_moving_direction_change": "heading",
}
EXPECTED = ("expected.npz",)


def by_group(label: str, ours: NDArray, expected: NDArray) -> Checks:
    """States compared group by group: their units differ by orders of magnitude."""
    if ours.shape != expected.shape:
        yield exact(f"{label} shape", ours.shape, expected.shape)
        return
    for name, places in GROUPS.items():
        yield compare(f"{label} {name}", ours[..., places], expected[..., places], DATA)


def normalised(states: NDArray, normaliser: MinMax) -> NDArray:
    """States ``(frames, 63)`` normalised in float32."""
    return normaliser.normalise(torch.from_numpy(states.astype(np.float32))).numpy()


# -- trials ------------------------------------------------------------------------------------------------------------
@compares("trials", known=("tree", ".npz", ".json"), files=EXPECTED)
def trials(case: Case) -> Checks:
    """The trial files, the authors' windows (metres, no resampling), their draws, and resampling done properly."""
    window, tree = int(case.facts.get("window_len", WINDOW)), case.folder / "tree"
    normaliser = normaliser_of(case.stored, "normalizer/") if "normalizer/scale_" in case else None
    files = {path: read_trial(path, tree) for path in trial_files(tree)}
    files = {path: trial for path, trial in files.items() if len(trial) >= window}
    kept, listed = list(files.values()), case.facts.get("trials", [])
    for number, path in enumerate(files):
        part = case.under(f"{number}/")
        part.facts = listed[number] if number < len(listed) else {}
        yield from _one_trial(part, path, kept[number], window, normaliser)
    windows = [starts(trial.missing, window, "upstream") for trial in kept]
    yield from case.recorded({"n_trials": len(kept), "total_windows": sum(map(len, windows))})
    for prefix in case.groups(r"picks_seed\d+"):
        yield from _picks(case.under(f"{prefix}/"), kept, windows, window, normaliser)
    yield from _resampling(case, kept)
    if "model_offsets" in case:
        yield exact("model_offsets", bool((case.raw("model_offsets") == np.eye(4)[:, :, None]).all()), True)
    case.used |= {name for name in case.stored if name.startswith("normalizer/")}


def _one_trial(case: Case, path: Path, trial: Trial, window: int, normaliser: MinMax | None) -> Checks:
    ours = {
        "file": f"{trial.name}.npz",
        "T": len(trial),
        "C": trial.states.shape[1],
        "height_m": trial.height,
        "weight_kg": trial.mass,
        "sampling_rate": trial.fps,
        "sub_and_trial_name": trial.name.replace("/", "_"),
    }
    yield from case.recorded(ours, case.at)
    with TrialFile(path) as file:
        names = file.strings("model_states_columns")
    outputs: dict[str, Any] = {
        "available_win_start": starts(trial.missing, window, "upstream"),
        "pos_vec": trial.start,
        "map_idx": [names.index(name) for name in columns.STATES],
    }
    if normaliser is not None:
        states = normalised(trial.states, normaliser)
        cuts = {fit[0]: int(fit[1]) for fit in case.find(r"window_normalised/(\d+)")}
        outputs |= {name: states[start : start + window] for name, start in cuts.items()}
    yield from case.given(outputs, FILE)


def _picks(
    case: Case, kept: list[Trial], windows: list[NDArray[np.int64]], window: int, normaliser: MinMax | None
) -> Checks:
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


def _resampling(case: Case, kept: list[Trial]) -> Checks:
    for text, length in case.facts.get("linear_resample_lengths", {}).items():
        frames, before, after = (float(word) for word in re.split(r"@|->", text))
        yield exact(f"length of {text}", len(resample_upstream(np.zeros(int(frames)), before, after)), length)
    for fit in case.find(r"resample/.*?(\d+)_to_(\d+).*"):
        name, old, new = fit[0], float(fit[1]), float(fit[2])
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


# -- preparation -------------------------------------------------------------------------------------------------------
class Prepared:
    """Every recording of a case converted, or refused, as the authors' code does it."""

    def __init__(self, case: Case) -> None:
        self.case, self.body = case, body(case, "model_offsets")
        self.names = [row["name"] for row in case.facts["eval_trials_unnormalised"]]
        self.converted: dict[str, Converted] = {}
        self.parts: dict[str, list[Converted]] = {}
        self.refused: Counter[str] = Counter()

    def add(self, key: str, subject: Mapping[str, Any]) -> Checks:
        """The trials of one subject; the authors swap the feet of all but the first where the left comes first."""
        file = str(subject["raw_file"])
        raw, heels = (read_arrays(self.case.folder / name) for name in (file, file.replace("__raw", "__calcn")))
        swapped = subject["contact_bodies"][0] == "calcn_l"
        for trial, described in subject["trials"].items():
            forces, cops = raw[f"{trial}/forces"], raw[f"{trial}/cops"]
            if swapped:
                forces, cops = (np.concatenate([x[:, 3:], x[:, :3]], 1) for x in (forces, cops))
            recording = Recording(
                raw[f"{trial}/poses"], forces, cops, raw[f"{trial}/probably_missing"], float(subject["mass_kg"]),
                float(subject["height_m"]), 1 / float(described["timestep_s"]), heels[f"{trial}/calcn_rl"],
            )  # fmt: skip
            yield from self._trial(recording, f"{key.rpartition('/')[2]}__{trial}", key, swapped)

    def _convert(self, recording: Recording, name: str, key: str) -> Converted | None:
        """The trial; None where it is refused, which counts under the authors' reason."""
        try:
            return convert(recording, self.body, name=name, source=key, variant="upstream")
        except DataError as error:
            self.refused[next(counter for counter, words in REASONS.items() if words in str(error))] += 1
            return None

    def _trial(self, recording: Recording, name: str, key: str, swapped: bool) -> Checks:
        converted = self._convert(recording, name, key)
        if converted is None:
            yield exact(f"{name} refused", name in self.names, False)
        elif name in self.names:
            self.converted[name] = converted
            self.parts[name] = convert_for_training(recording, self.body, name=name, source=key)
        else:  # only the authors refuse it: to them its feet are swapped
            yield exact(f"{name} is refused by the authors for its swapped feet", swapped, True)
            wrong = replace(recording, forces=np.roll(recording.forces, 3, 1), cops=np.roll(recording.cops, 3, 1))
            self._convert(wrong, name, key)


@compares("preprocess", files=EXPECTED)
def preprocess(case: Case) -> Checks:
    """Every recording converted or refused as recorded, the fitted normaliser, and the window builders."""
    prepared = Prepared(case)
    for key, subject in case.facts["subjects"].items():
        yield from prepared.add(key, subject)
    yield exact("accepted", sorted(prepared.converted), sorted(prepared.names))
    if "excluded_eval" in case.facts:
        counted = {name: count for name, count in case.facts["excluded_eval"].items() if count}
        yield exact("refused", dict(prepared.refused), counted)
    for number, row in enumerate(case.facts["eval_trials_unnormalised"]):
        yield from _converted(case.under(f"unnorm/{number}/"), row, prepared.converted[row["name"]])
    if rows := case.facts.get("train_trials_normalised"):
        yield from _trained(case, rows, prepared.parts)


def _converted(case: Case, row: Mapping[str, Any], converted: Converted) -> Checks:
    trial = converted.trial
    yield exact(f"{case.at}length", len(trial), row.get("length", len(trial)))
    if "converted_pose" in case:
        yield from by_group(f"{case.at}converted_pose", trial.states, case.raw("converted_pose"))
    else:
        yield unchecked(f"{case.at}converted_pose", "absent")
    outputs: dict[str, Any] = {
        "rot_mat": converted.turn,
        "pos_vec": trial.start,
        "probably_missing": trial.missing.astype(float),
        "mtp_r_vel": converted.toes[:, 0],
        "mtp_l_vel": converted.toes[:, 1],
        "available_win_start": starts(trial.missing, WINDOW, "upstream"),
    }
    yield from case.given(outputs, DATA)


def _trained(case: Case, rows: Sequence[dict[str, Any]], parts: Mapping[str, list[Converted]]) -> Checks:
    """Training mode: fitted on these trials, normalised; then the window builders."""
    waiting = {name: iter(cut) for name, cut in parts.items()}  # a trial cut at a jump has several rows
    taken = [next(waiting[row["name"]]).trial for row in rows]
    yield exact("trained on", [len(trial) for trial in taken], [row["length"] for row in rows])
    yield exact("parts left over", [name for name, rest in waiting.items() if next(rest, None) is not None], [])
    every = torch.from_numpy(np.concatenate([trial.states for trial in taken]).astype(np.float32))
    fitted, tables = MinMax(every.shape[1]).fit([every]), case.under("normalizer/")
    stored = fitted
    if "scale_" in tables:
        yield from same_normaliser("fitted", fitted, tables, DATA)
        stored = normaliser_of(case.stored, "normalizer/")
        yield from same_normaliser("stored", stored, tables)
    states = [normalised(trial.states, stored) for trial in taken]
    for number, trial in enumerate(taken):
        outputs = {"converted_pose": states[number], "pos_vec": trial.start}
        outputs["available_win_start"] = starts(trial.missing, WINDOW, "upstream")
        yield from case.under(f"train/{number}/").given(outputs, DATA)
    for name in case.under("windows/").groups(".+"):
        yield from _windows(case.under(f"windows/{name}/"), name, states)


def _windows(case: Case, name: str, states: list[NDArray]) -> Checks:
    """Window builders: back to back, one from the end, overlapping."""
    lengths, right = [len(x) for x in states], name.startswith("one_from_end")
    if right:
        cuts = [(i, max(n - WINDOW, 0), n) for i, n in enumerate(lengths)]
    else:
        overlap = re.match(r"overlap(\d+)", name)
        step = int(overlap.group(1)) if overlap else WINDOW
        short = not overlap or name.endswith("short")
        cuts = [(i, a, b) for i, n in enumerate(lengths) for a, b in tile(n, WINDOW, step, short=short)]
    built = [padded(states[i], a, b, WINDOW, right=right) for i, a, b in cuts]
    outputs: dict[str, Any] = {key: [cut[place] for cut in cuts] for place, key in enumerate(("trial_id", "s", "e"))}
    outputs["last_mask"] = built[-1][1]
    if "index" in case:
        index = case.raw("index").tolist()
        outputs |= {"pose": np.stack([built[i][0] for i in index]), "mask": np.stack([built[i][1] for i in index])}
    yield from case.given(outputs, DATA)
