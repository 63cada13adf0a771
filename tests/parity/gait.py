"""GaitDynamics against the authors' code: columns, checkpoints, the decoder, kinematics, optimisers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hmu.backbones.gaitdynamics.authors import options_of, read_checkpoint, to_published
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.options import DecoderOptions, ScheduleOptions
from hmu.gait import columns, rotations, states
from hmu.gait.normaliser import MinMax, range_of
from hmu.gait.skeleton import FEET, JOINTS, SEGMENTS, Pose, Skeleton, forward
from tests.parity.adan import Adan
from tests.parity.attention import watched
from tests.parity.case import DOUBLE, Case, Table, published, read_arrays, read_json, strange
from tests.parity.checks import Check, compare, deviation, exact, fewest_failures, unchecked
from tests.parity.gait_models import DECODER, FILE, network, normaliser_of, same_normaliser, sizes, twins
from tests.published import options as published_options


# -- columns -----------------------------------------------------------------------------------------------------------
def column_lists(folder: Path) -> Iterator[Check]:
    """Names and order of all columns, index lists, published sizes."""
    yield from strange(folder, ".json")
    if (path := folder / "columns.json").is_file():
        listed = read_json(path)
        indices = listed.get("index_lists", {})
        yield exact("columns", [column["name"] for column in listed["columns"]], list(columns.STATES))
        yield exact("positions", [column["index"] for column in listed["columns"]], list(range(columns.FEATURES)))
        ours: dict[str, Any] = {
            "osim_dof_columns": list(columns.OSIM),
            "joints_3d": {name: list(angles) for name, angles in columns.JOINTS_3D.items()},
            "kinematic_diffusion_col_loc": columns.KINEMATIC_COLUMNS,
            "kinetic_diffusion_col_loc": columns.KINETIC_COLUMNS,
            "kinematic_osim_col_loc": list(range(len(columns.COORDINATES))),
        }
        for joint in ("knee", "ankle", "hip"):
            named = [i for i, name in enumerate(columns.STATES) if name.startswith(f"{joint}_")]
            ours[f"{joint}_diffusion_col_loc"] = named
        for key, mark in (("grf_osim_col_loc", "_force_v"), ("cop_osim_col_loc", "_cop_")):
            ours[key] = [i for i, name in enumerate(columns.OSIM) if mark in name]
        for key, value in ours.items():
            if key in (told := listed | indices):
                yield exact(key, told[key], value)
    if (path := folder / "defaults.json").is_file():
        yield from _defaults(read_json(path)["motion_model"])


def _defaults(model: dict[str, Any]) -> Iterator[Check]:
    ours, theirs = dataclasses.asdict(published_options(DecoderOptions)), dataclasses.asdict(sizes(model["decoder"]))
    yield exact("published sizes", ours, theirs)
    process = model["diffusion"]
    schedule = published_options(ScheduleOptions)
    found = (schedule.timesteps, schedule.beta_schedule, schedule.predict == "noise")
    yield exact("schedule", found, (process["n_timestep"], process["schedule"], process["predict_epsilon"]))
    adan = Adan([torch.nn.Parameter(torch.zeros(1))]).defaults
    optimizer = model["optimizer"]
    for key in ("lr", "weight_decay", "eps"):
        yield exact(f"Adan {key}", adan[key], optimizer[key])
    yield exact("Adan betas", list(adan["betas"]), optimizer["betas"])


# -- checkpoints -------------------------------------------------------------------------------------------------------
DECODER_ROWS: Table = {"out": lambda case, net: net(case["x"], case["t"])}


def outputs(case: Case, net: Decoder, table: Any = None) -> Iterator[Check]:
    """Answers; in double precision with exact rotary angles or with float32 ones (see the vectors' README)."""
    rows = table or DECODER_ROWS
    yield from case.rows(net, rows, DECODER)
    if any(name.endswith("_f64") for name in case.names()):
        yield from fewest_failures(list(case.double().rows(twin, rows, DOUBLE)) for twin in twins(net))


def checkpoint(folder: Path) -> Iterator[Check]:
    """Every layout of the authors' file, read without running it, gives the same answers; the normaliser."""
    yield from strange(folder, ".json", ".npz", ".pt")
    case = Case.read(folder, files=("vectors.npz",))
    told = case.settings("hyper_parameters")
    tables = folder / "normalizer.npz"
    tables_case = Case(folder, read_arrays(tables)) if tables.is_file() else None
    with torch.no_grad():
        for path in sorted(folder.glob("*.pt")):
            content = read_checkpoint(path)
            net = network(path, told, lambda net: deviation(net(case["x"], case["t"]), case.raw("out")))
            options = dataclasses.replace(options_of(content.state, path, net.options.heads), window=net.options.window)
            if told:
                yield exact(f"{path.name} sizes", options, sizes(told))
            yield exact(f"{path.name} names", sorted(to_published(net)), sorted(content.state))
            if content.normaliser is not None and tables_case is not None:
                yield from same_normaliser(path.name, content.normaliser, tables_case)
            yield from (check.inside(path.name) for check in outputs(case, net))
    yield from case.unread()
    yield from [unchecked("normaliser", "no normalizer.npz")] if tables_case is None else _normaliser(tables_case)


NORMALISER_ROWS: Table = {
    "normalize_out": lambda case, ours: ours.normalise(case["normalize_in"]),
    "unnormalize_out": lambda case, ours: ours.denormalise(case["unnormalize_in"]),
    "fit_normalized": lambda case, ours: _fitted(case).normalise(case["fit_in"][0]),
    "fit_subset_normalized": lambda case, ours: _only(
        case.raw("fit_subset_cols").tolist(), _fitted(case).normalise(case["fit_in"][1]), case["fit_in"][1]
    ),
    "feature_range": lambda case, ours: (case.raw("feature_range"), [-10, 10], 0.0),
    "cols_to_normalize": lambda case, ours: range(len(ours.min_)),
}


def _fitted(case: Case) -> MinMax:
    return MinMax(case["fit_in"].shape[-1]).set_range(*range_of([case["fit_in"]]))


def _only(columns: list[int], changed: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """``(..., columns)``, of which only some have changed."""
    result = before.clone()
    result[..., columns] = changed[..., columns].to(before)
    return result


def _normaliser(case: Case) -> Iterator[Check]:
    ours = normaliser_of(case.stored)
    again = MinMax(len(ours.min_)).set_range(ours.data_min_, ours.data_max_, ours.samples)
    yield from same_normaliser("from its range", again, case)
    yield from case.rows(ours, NORMALISER_ROWS, FILE)
    if "fit_in" in case:
        yield from same_normaliser("fit", _fitted(case), case.under("fit_"))
    yield from case.unread()


# -- decoder -----------------------------------------------------------------------------------------------------------
def decoder(folder: Path) -> Iterator[Check]:
    """Answers and intermediate tensors at several lengths; names and shapes at the published size."""
    yield from strange(folder, ".json", ".npz", ".pt")
    for path in sorted(folder.glob("manifest*.json")):
        yield from _manifest(path)
    for path in sorted(folder.glob("*.npz")):
        own = read_json(path.with_suffix(".json")) if path.with_suffix(".json").is_file() else {}
        case = Case(folder, read_arrays(path), path.stem, facts=own)
        told = own.get("hyper_parameters", own if "nfeats" in own else published(folder, "decoder"))
        runs = sorted({name.rpartition("x")[0] for name in case.names() if name.rpartition("/")[2] == "x"})
        first = case.under(runs[0])
        told = {**told, "nfeats": first.last("x")}

        def error(net: Decoder, first: Case = first) -> float:
            return deviation(net(first["x"], first["t"]), first.raw("out"))

        with torch.no_grad():
            net = network(path.with_suffix(".pt"), told, error, folder.name, path.stem)
            for run in runs:
                yield from (check.inside(path.stem) for check in outputs(case.under(run), net))
                yield from (check.inside(path.stem) for check in _traced(case, run, net))
        if "n_parameters" in own:
            yield exact(f"{path.stem} parameters", _count(to_published(net)), own["n_parameters"])
        yield from case.unread()


def _traced(case: Case, run: str, net: Decoder) -> Iterator[Check]:
    """Intermediate tensors of a run."""
    part, inputs = case.under(f"trace_{run}"), case.under(run)
    if not part.names():
        return
    modules: dict[str, torch.nn.Module] = {
        "time_sincos": net.time_mlp[0],
        "time_hidden": net.time_mlp[1],
        "time_cond": net.to_time_cond[0],
        "projected": net.input_projection,
    }
    for index, layer in enumerate(net.seqTransDecoder.stack):
        modules[f"layer{index}"] = layer
        modules |= {f"l{index}_{name}": getattr(layer, name) for name in ("norm1", "self_attn", "film1")}
    with watched(modules) as calls:
        net(inputs["x"], inputs["t"])
    trace = {name: result for name, (_, result) in calls.items()}
    trace["time_hidden"] = functional.mish(trace["time_hidden"])
    for index in range(len(net.seqTransDecoder.stack)):
        (trace[f"l{index}_rotated"], *_), trace[f"l{index}_attn"] = calls[f"l{index}_self_attn"]
        trace[f"l{index}_film1_scale"], trace[f"l{index}_film1_shift"] = trace[f"l{index}_film1"]
    yield from part.rows(None, {"(.+)": lambda case, _, name: trace.get(name)}, DECODER)


def _count(state: dict[str, Tensor]) -> int:
    """Parameters without buffers."""
    return sum(value.numel() for name, value in state.items() if not name.endswith(("freqs", ".pe")))


def _manifest(path: Path) -> Iterator[Check]:
    listed = read_json(path)
    with torch.device("meta"):
        ours = to_published(Decoder(sizes(listed["hyper_parameters"])))
    expected = listed["state_dict"]
    yield exact(f"{path.stem} names in order", list(ours), list(expected))
    for name, value in ours.items():
        if name in expected:
            found = (list(value.shape), str(value.dtype).removeprefix("torch."))
            yield exact(f"{path.stem} {name}", found, (expected[name]["shape"], expected[name]["dtype"]))
    yield exact(f"{path.stem} parameters", _count(ours), listed["n_parameters"])


# -- kinematics --------------------------------------------------------------------------------------------------------
def _pose(case: Case, name: str) -> Pose:
    """Joints and segments with unit frames (``id``) or stored ones."""

    def run() -> Pose:
        stored = case.get(f"fk/offsets_{name}")
        frames = torch.eye(4)[:, :, None].expand(4, 4, 20) if stored is None else stored
        return forward(case["inverse/osim"], Skeleton(frames, case["fk/walker_knee_coefficients"]))

    return case.once(name, run)


KINEMATIC_ROWS: Table = {
    "matrix": lambda case, _: rotations.from_euler(case["euler_zxy"]),
    "sixd": lambda case, _: rotations.to_6d(case["matrix"]),
    "euler_back": lambda case, _: rotations.to_euler(rotations.from_6d(case["sixd"])),
    "raw6_matrix": lambda case, _: rotations.from_6d(case["raw6"]),
    "raw6_euler": lambda case, _: rotations.to_euler(rotations.from_6d(case["raw6"])),
    "matrix_xyz": lambda case, _: rotations.from_euler(case["euler_xyz"], "xyz"),
    "matrix_xyz_back": lambda case, _: rotations.to_euler(case["matrix_xyz"], "xyz"),
    r"angular_velocity_fs(\d+)": lambda case, _, fps: rotations.angular_velocity(case["matrix"], float(fps)),
    "inverse/osim": lambda case, _: states.to_osim(case["inverse/states"], case["inverse/height_m"]),
    "inverse/osim_with_pos_vec": lambda case, _: _from(
        case["inverse/pos_vec"], states.to_osim(case["inverse/states"], case["inverse/height_m"])
    ),
    "fk/([^/]+)/joints": lambda case, _, name: _pose(case, name).joints.movedim(-2, 0),
    "fk/([^/]+)/(?:foot|feet)": lambda case, _, name: _pose(case, name).feet.movedim(-2, 0),
    "fk/([^/]+)/segments": lambda case, _, name: _pose(case, name).segments.movedim(-3, 0),
}


def _from(start: torch.Tensor, osim: torch.Tensor) -> torch.Tensor:
    """OpenSim columns ``(..., 35)`` whose root begins at ``start`` ``(3,)``."""
    osim[..., columns.osim(columns.ROOT)] += start.to(osim)
    return osim


def kinematics(folder: Path) -> Iterator[Check]:
    """Rotations, model states to coordinates, and where joints and segments are."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder)
    ours = {"joint_names": JOINTS, "foot_order": FEET, "segment_order": SEGMENTS, "osim_columns": columns.OSIM}
    for key in ours.keys() & case.facts.keys():
        yield exact(key, list(ours[key]), case.facts[key])
    yield from case.rows(None, KINEMATIC_ROWS, FILE)
    yield from case.unread()


# -- optimisers --------------------------------------------------------------------------------------------------------
def optim(folder: Path) -> Iterator[Check]:
    """Adan as the authors run it, and one step of the average of weights."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder)
    names = sorted(found[1] for found in case.find(r"(\w)0"))
    weights = [torch.nn.Parameter(case[f"{name}0"].clone()) for name in names]
    rate, decay = case.number("lr", 4e-4), case.number("weight_decay", 0.02)
    optimizer = Adan(weights, lr=rate, weight_decay=decay, variant="upstream")
    for step, gradient in enumerate(case["grads"] if weights else ()):
        for weight, part in zip(weights, gradient.split([w.numel() for w in weights]), strict=True):
            weight.grad = part.reshape(weight.shape)
        optimizer.step()
        for name, weight in zip(names, weights, strict=True):
            yield compare(f"{name} after step {step}", weight.detach(), case.raw(name)[step], FILE)
    if "ema_old" in case:
        keep = case.number("ema_beta", 0.999)
        yield compare("average", case["ema_old"] * keep + case["ema_new"] * (1 - keep), case.raw("ema_result"), FILE)
    yield from case.unread()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "columns": column_lists,
    "checkpoint": checkpoint,
    "decoder": decoder,
    "kinematics": kinematics,
    "optim": optim,
}
