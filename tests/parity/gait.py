"""GaitDynamics against the authors' code: columns, checkpoints, the decoder, kinematics, optimisers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hmu.backbones.gaitdynamics.authors import options_of, read_checkpoint, to_published
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.options import DecoderOptions, ScheduleOptions
from hmu.gait import columns, rotations, states
from hmu.gait.normaliser import MinMax
from hmu.gait.skeleton import FEET, FRAMES, JOINTS, SEGMENTS, Pose, Skeleton, forward
from tests.parity.adan import Adan
from tests.parity.attention import watched
from tests.parity.case import Case, Table, once, read_arrays, read_json
from tests.parity.checks import Checks, compare, exact, inside, unchecked
from tests.parity.gait_models import DECODER, FILE, network, normaliser_of, same_normaliser, sizes, twins
from tests.parity.kinds import compares
from tests.parity.manifests import published, shape_of
from tests.published import options as published_options

HOLDS = (".json", ".npz", ".pt")


# -- columns -----------------------------------------------------------------------------------------------------------
@compares("columns", known=(".json",), files=())
def column_lists(case: Case) -> Checks:
    """Names and order of all columns, index lists, published sizes."""
    if listed := read_json(case.folder / "columns.json"):
        recorded = listed | listed.get("index_lists", {})
        yield exact("columns", [column["name"] for column in listed["columns"]], list(columns.STATES))
        yield exact("positions", [column["index"] for column in listed["columns"]], list(range(columns.FEATURES)))
        ours: dict[str, Any] = {
            "osim_dof_columns": list(columns.OSIM),
            "joints_3d": {name: list(angles) for name, angles in columns.JOINTS_3D.items()},
            "kinematic_diffusion_col_loc": columns.KINEMATIC_COLUMNS,
            "kinetic_diffusion_col_loc": columns.KINETIC_COLUMNS,
            "kinematic_osim_col_loc": list(range(len(columns.COORDINATES))),
            "grf_osim_col_loc": _holding(columns.OSIM, "_force_v"),
            "cop_osim_col_loc": _holding(columns.OSIM, "_cop_"),
        }
        for joint in ("knee", "ankle", "hip"):
            ours[f"{joint}_diffusion_col_loc"] = [i for i, x in enumerate(columns.STATES) if x.startswith(f"{joint}_")]
        for key in ours.keys() & recorded.keys():
            yield exact(key, recorded[key], ours[key])
    if defaults := read_json(case.folder / "defaults.json"):
        yield from _defaults(defaults["motion_model"])


def _holding(names: tuple[str, ...] | list[str], word: str) -> list[int]:
    return [place for place, name in enumerate(names) if word in name]


def _defaults(model: dict[str, Any]) -> Checks:
    ours, theirs = dataclasses.asdict(published_options(DecoderOptions)), dataclasses.asdict(sizes(model["decoder"]))
    yield exact("published sizes", ours, theirs)
    process, schedule = model["diffusion"], published_options(ScheduleOptions)
    settings = (schedule.timesteps, schedule.beta_schedule, schedule.predict == "noise")
    yield exact("schedule", settings, (process["n_timestep"], process["schedule"], process["predict_epsilon"]))
    adan = Adan([torch.nn.Parameter(torch.zeros(1))]).defaults
    optimizer = model["optimizer"]
    for key in ("lr", "weight_decay", "eps"):
        yield exact(f"Adan {key}", adan[key], optimizer[key])
    yield exact("Adan betas", list(adan["betas"]), optimizer["betas"])


# -- checkpoints -------------------------------------------------------------------------------------------------------
#: answers; in double precision with exact rotary angles or with float32 ones (see the vectors' README)
DECODER_ROWS: Table = {"out": lambda case, net: net(case["x"], case["t"])}


@compares("checkpoint", known=HOLDS, files=("vectors.npz",))
def checkpoint(case: Case) -> Checks:
    """Every layout of the authors' file, read without running it, gives the same answers; the normaliser."""
    recorded, tables = case.settings("hyper_parameters"), case.folder / "normalizer.npz"
    scales = Case(case.folder, read_arrays(tables)) if tables.is_file() else None
    for path in sorted(case.folder.glob("*.pt")):
        content = read_checkpoint(path)
        net = network(path, recorded, partial(case.off, table=DECODER_ROWS, name="out"))
        options = dataclasses.replace(options_of(content.state, path, net.options.heads), window=net.options.window)
        if recorded:
            yield exact(f"{path.name} sizes", options, sizes(recorded))
        yield exact(f"{path.name} names", sorted(to_published(net)), sorted(content.state))
        if content.normaliser is not None and scales is not None:
            yield from same_normaliser(path.name, content.normaliser, scales)
        yield from inside(path.name, case.table(net, DECODER_ROWS, DECODER, twins=twins))
    if scales is None:
        yield unchecked("normaliser", "no normalizer.npz")
    else:
        yield from _normaliser(scales)
        yield from scales.unread()


def _fitted(case: Case) -> MinMax:
    return MinMax(case["fit_in"].shape[-1]).fit([case["fit_in"]])


def _subset(case: Case, _: MinMax) -> Tensor:
    """The second input, of which only some columns are normalised."""
    places, result = case.raw("fit_subset_cols").tolist(), case["fit_in"][1].clone()
    result[..., places] = _fitted(case).normalise(result)[..., places].to(result)
    return result


NORMALISER_ROWS: Table = {
    "normalize_out": lambda case, ours: ours.normalise(case["normalize_in"]),
    "unnormalize_out": lambda case, ours: ours.denormalise(case["unnormalize_in"]),
    "fit_normalized": lambda case, ours: _fitted(case).normalise(case["fit_in"][0]),
    "fit_subset_normalized": _subset,
    "feature_range": (lambda case, ours: [-10, 10], 0.0),
    "cols_to_normalize": lambda case, ours: range(len(ours.min_)),
}


def _normaliser(case: Case) -> Checks:
    ours = normaliser_of(case.stored)
    again = MinMax(len(ours.min_)).set_range(ours.data_min_, ours.data_max_, ours.samples)
    yield from same_normaliser("from its range", again, case)
    yield from case.rows(ours, NORMALISER_ROWS, FILE)
    if "fit_in" in case:
        yield from same_normaliser("fit", _fitted(case), case.under("fit_"))


# -- decoder -----------------------------------------------------------------------------------------------------------
@compares("decoder", known=HOLDS, files=())
def decoder(folder: Case) -> Checks:
    """Answers and intermediate tensors at several lengths; names and shapes at the published size."""
    for path in sorted(folder.folder.glob("manifest*.json")):
        yield from inside(path.stem, _manifest(read_json(path)))
    for case in Case.each(folder.folder):
        own, path = case.facts, case.folder / f"{case.part}.pt"
        recorded = own.get("hyper_parameters", own if "nfeats" in own else published(case.folder, "decoder"))
        runs = sorted({name.rpartition("x")[0] for name in case.names() if name.rpartition("/")[2] == "x"})
        first = case.under(runs[0])
        error = partial(first.off, table=DECODER_ROWS, name="out")
        net = network(path, {**recorded, "nfeats": first.last("x")}, error, case.folder.name, case.part)
        for run in runs:
            yield from inside(case.part, case.under(run).table(net, DECODER_ROWS, DECODER, twins=twins))
            yield from inside(case.part, _traced(case.under(f"trace_{run}"), case.under(run), net))
        if "n_parameters" in own:
            yield exact(f"{case.part} parameters", _count(to_published(net)), own["n_parameters"])
        yield from case.unread()


def _traced(case: Case, inputs: Case, net: Decoder) -> Checks:
    """Intermediate tensors of a run."""
    if not case.names():
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
    yield from case.rows(None, {"(.+)": lambda case, _, name: trace.get(name)}, DECODER)


def _count(state: Mapping[str, Tensor]) -> int:
    """Parameters without buffers."""
    return sum(value.numel() for name, value in state.items() if not name.endswith(("freqs", ".pe")))


def _manifest(listed: Mapping[str, Any]) -> Checks:
    with torch.device("meta"):
        ours = to_published(Decoder(sizes(listed["hyper_parameters"])))
    expected = listed["state_dict"]
    yield exact("names in order", list(ours), list(expected))
    for name, value in ours.items():
        if name in expected:
            yield exact(name, shape_of(value), {key: expected[name][key] for key in ("shape", "dtype")})
    yield exact("parameters", _count(ours), listed["n_parameters"])


# -- kinematics --------------------------------------------------------------------------------------------------------
@once
def _pose(case: Case, name: str) -> Pose:
    """Joints and segments with unit frames (``id``) or stored ones."""
    stored = case.get(f"fk/offsets_{name}")
    frames = torch.eye(4)[:, :, None].expand(4, 4, FRAMES) if stored is None else stored
    return forward(case["inverse/osim"], Skeleton(frames, case["fk/walker_knee_coefficients"]))


def _osim(case: Case, _: None, placed: str | None) -> Tensor:
    """OpenSim columns ``(..., 35)``, whose root begins at the recorded place if asked."""
    osim = states.to_osim(case["inverse/states"], case["inverse/height_m"])
    if placed:
        osim[..., columns.osim(columns.ROOT)] += case["inverse/pos_vec"].to(osim)
    return osim


KINEMATIC_ROWS: Table = {
    "matrix": lambda case, _: rotations.from_euler(case["euler_zxy"]),
    "sixd": lambda case, _: rotations.to_6d(case["matrix"]),
    "euler_back": lambda case, _: rotations.to_euler(rotations.from_6d(case["sixd"])),
    "raw6_matrix": lambda case, _: rotations.from_6d(case["raw6"]),
    "raw6_euler": lambda case, _: rotations.to_euler(rotations.from_6d(case["raw6"])),
    "matrix_xyz": lambda case, _: rotations.from_euler(case["euler_xyz"], "xyz"),
    "matrix_xyz_back": lambda case, _: rotations.to_euler(case["matrix_xyz"], "xyz"),
    r"angular_velocity_fs(\d+)": lambda case, _, fps: rotations.angular_velocity(case["matrix"], float(fps)),
    "inverse/osim(_with_pos_vec)?": _osim,
    "fk/([^/]+)/joints": lambda case, _, name: _pose(case, name).joints.movedim(-2, 0),
    "fk/([^/]+)/(?:foot|feet)": lambda case, _, name: _pose(case, name).feet.movedim(-2, 0),
    "fk/([^/]+)/segments": lambda case, _, name: _pose(case, name).segments.movedim(-3, 0),
}


@compares("kinematics")
def kinematics(case: Case) -> Checks:
    """Rotations, model states to coordinates, and where joints and segments are."""
    ours = {"joint_names": JOINTS, "foot_order": FEET, "segment_order": SEGMENTS, "osim_columns": columns.OSIM}
    yield from case.recorded({key: list(names) for key, names in ours.items()})
    yield from case.rows(None, KINEMATIC_ROWS, FILE)


# -- optimisers --------------------------------------------------------------------------------------------------------
@compares("optim")
def optim(case: Case) -> Checks:
    """Adan as the authors run it, and one step of the average of weights."""
    names = sorted(fit[1] for fit in case.find(r"(\w)0"))
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
        yield from case.given({"ema_result": case["ema_old"] * keep + case["ema_new"] * (1 - keep)}, FILE)
