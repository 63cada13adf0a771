"""GaitDynamics' data preparation against the authors' code: every recording converted or refused."""

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
from hmu.gait.columns import WINDOW
from hmu.gait.normaliser import MinMax, range_of
from tests.parity.case import Case, read_arrays, strange
from tests.parity.checks import Check, compare, exact, unchecked
from tests.parity.gait_data import by_group, normalised
from tests.parity.gait_models import DATA, knee, normaliser_of, same_normaliser, skeleton
from tests.parity.gait_recording import (
    Converted,
    Recording,
    convert,
    convert_for_training,
    padded,
    starts,
    tile,
)

#: what our reasons for refusing a recording say, by the authors' counters
REASONS = {
    "trial_length": "expected at least",
    "lumbar_rotation": "lumbar rotation",
    "wrong_cop": "centre of pressure",
    "large_moving_direction_change": "heading",
}


# -- preparation -------------------------------------------------------------------------------------------------------
class Prepared:
    """Every recording of a case converted, or refused, as the authors' code does it."""

    def __init__(self, case: Case) -> None:
        self.case, self.body = case, skeleton(case.raw("model_offsets"), knee(case.folder))
        self.names = [row["name"] for row in case.facts["eval_trials_unnormalised"]]
        self.converted: dict[str, Converted] = {}
        self.parts: dict[str, list[Converted]] = {}
        self.refused: Counter[str] = Counter()

    def refuse(self, error: DataError) -> None:
        """Count a refusal under the authors' reason."""
        self.refused[next(counter for counter, words in REASONS.items() if words in str(error))] += 1

    def add(self, key: str, subject: Mapping[str, Any]) -> Iterator[Check]:
        """The trials of one subject; the authors swap the feet of all but the first where the left comes first."""
        raw = read_arrays(self.case.folder / str(subject["raw_file"]))
        beside = self.case.folder / str(subject["raw_file"]).replace("__raw", "__calcn")
        heels = read_arrays(beside)
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

    def _trial(self, recording: Recording, name: str, key: str, swapped: bool) -> Iterator[Check]:
        try:
            converted = convert(recording, self.body, name=name, source=key, variant="upstream")
        except DataError as error:
            self.refuse(error)
            yield exact(f"{name} refused", name in self.names, False)
            return
        if name in self.names:
            self.converted[name] = converted
            self.parts[name] = convert_for_training(recording, self.body, name=name, source=key)
            return
        # only the authors refuse it: to them its feet are swapped
        yield exact(f"{name} is refused by the authors for its swapped feet", swapped, True)
        wrong = replace(recording, forces=np.roll(recording.forces, 3, 1), cops=np.roll(recording.cops, 3, 1))
        try:
            convert(wrong, self.body, name=name, source=key, variant="upstream")
        except DataError as error:
            self.refuse(error)


def preprocess(folder: Path) -> Iterator[Check]:
    """Every recording converted or refused as recorded, the fitted normaliser, and the window builders."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder, files=("expected.npz",))
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
    yield from case.unread()


def _converted(case: Case, row: Mapping[str, Any], converted: Converted) -> Iterator[Check]:
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
    for name, value in outputs.items():
        if name in case:
            compared = exact if name == "available_win_start" else compare
            tolerance = () if compared is exact else (DATA,)
            yield compared(f"{case.at}{name}", value, case.raw(name), *tolerance)  # type: ignore[operator]


def _trained(case: Case, rows: list[dict[str, Any]], parts: Mapping[str, list[Converted]]) -> Iterator[Check]:
    """Training mode: fitted on these trials, normalised; then the window builders."""
    waiting = {name: iter(found) for name, found in parts.items()}  # a trial cut at a jump has several rows
    chosen = [next(waiting[row["name"]]).trial for row in rows]
    yield exact("trained on", [len(trial) for trial in chosen], [row["length"] for row in rows])
    yield exact("parts left over", [name for name, rest in waiting.items() if next(rest, None) is not None], [])
    every = torch.from_numpy(np.concatenate([trial.states for trial in chosen]).astype(np.float32))
    fitted, tables = MinMax(every.shape[1]).set_range(*range_of([every])), case.under("normalizer/")
    stored = fitted
    if "scale_" in tables:
        yield from (check.inside("fitted") for check in tables.given(dict(fitted.named_buffers()), DATA))
        yield exact("fitted on", fitted.samples, int(tables.raw("n_samples_seen_")))
        stored = normaliser_of(case.stored, "normalizer/")
        yield from same_normaliser("stored", stored, tables)
    states = [normalised(trial.states, stored) for trial in chosen]
    for number, trial in enumerate(chosen):
        part = case.under(f"train/{number}/")
        yield from part.given({"converted_pose": states[number], "pos_vec": trial.start}, DATA)
        yield from part.given({"available_win_start": starts(trial.missing, WINDOW, "upstream")}, DATA)
    for name in case.under("windows/").groups(".+"):
        yield from _windows(case.under(f"windows/{name}/"), name, states)


def _windows(case: Case, name: str, states: list[NDArray]) -> Iterator[Check]:
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


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"preprocess": preprocess}
