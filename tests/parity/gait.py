"""GaitDynamics against the authors' code: columns, checkpoints, the decoder, kinematics, optimisers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.adan import Adan
from hmu.backbones.gaitdynamics.authors import load_into, options_of, read_checkpoint, to_published
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.options import DecoderOptions, ScheduleOptions
from hmu.gait import columns, rotations, states
from hmu.gait.normaliser import MinMax
from hmu.gait.skeleton import FEET, JOINTS, SEGMENTS, Skeleton, forward
from tests import published
from tests.parity.checks import Check, compare, exact
from tests.parity.gait_files import (
    DECODER,
    DOUBLE,
    FILE,
    facts,
    load,
    normaliser_of,
    rounded_angles,
    same_normaliser,
    sizes,
    strange,
)
from tests.parity.salad_files import Arrays


def column_lists(case: Path) -> Iterator[Check]:
    """Names and order of all columns, index lists, published sizes."""
    yield from strange(case, {"columns.json", "defaults.json"})
    listed = facts(case / "columns.json")
    yield exact("columns", [column["name"] for column in listed["columns"]], list(columns.STATES))
    yield exact("positions", [column["index"] for column in listed["columns"]], list(range(columns.FEATURES)))
    yield exact("osim columns", listed["osim_dof_columns"], list(columns.OSIM))
    yield exact("joints", listed["joints_3d"], {name: list(angles) for name, angles in columns.JOINTS_3D.items()})
    indices = listed["index_lists"]
    yield exact("kinematic columns", indices["kinematic_diffusion_col_loc"], columns.KINEMATIC_COLUMNS)
    yield exact("kinetic columns", indices["kinetic_diffusion_col_loc"], columns.KINETIC_COLUMNS)
    yield exact("coordinates", indices["kinematic_osim_col_loc"], list(range(len(columns.COORDINATES))))
    for joint in ("knee", "ankle", "hip"):
        mine = [i for i, name in enumerate(columns.STATES) if name.startswith(f"{joint}_")]
        yield exact(f"{joint} columns", indices[f"{joint}_diffusion_col_loc"], mine)
    for key, mark in (("grf_osim_col_loc", "_force_v"), ("cop_osim_col_loc", "_cop_")):
        yield exact(key, indices[key], [i for i, name in enumerate(columns.OSIM) if mark in name])
    if (case / "defaults.json").is_file():
        yield from _defaults(facts(case / "defaults.json")["motion_model"])


def _defaults(model: dict[str, Any]) -> Iterator[Check]:
    ours, theirs = dataclasses.asdict(published.options(DecoderOptions)), dataclasses.asdict(sizes(model["decoder"]))
    yield exact("published sizes", ours, theirs)
    process = model["diffusion"]
    schedule = published.options(ScheduleOptions)
    found = (schedule.timesteps, schedule.beta_schedule, schedule.predict == "noise")
    yield exact("schedule", found, (process["n_timestep"], process["schedule"], process["predict_epsilon"]))
    adan = Adan([torch.nn.Parameter(torch.zeros(1))]).defaults
    optimizer = model["optimizer"]
    for key in ("lr", "weight_decay", "eps"):
        yield exact(f"Adan {key}", adan[key], optimizer[key])
    yield exact("Adan betas", list(adan["betas"]), optimizer["betas"])


def checkpoint(case: Path) -> Iterator[Check]:
    """Every layout of the authors' file, read without running it, gives the same answers; the normaliser."""
    yield from strange(case, {"meta.json", "vectors.npz", "normalizer.npz", ".pt"})
    arrays, tables = Arrays(case / "vectors.npz"), Arrays(case / "normalizer.npz")
    stored = facts(case / "meta.json")["hyper_parameters"]
    x, time = arrays.tensor("x"), arrays.tensor("t")
    for path in sorted(case.glob("*.pt")):
        content = read_checkpoint(path)
        options = dataclasses.replace(options_of(content.state, path, stored["num_heads"]), window=stored["seq_len"])
        yield exact(f"{path.name} sizes", options, sizes(stored))
        decoder = Decoder(options).eval()
        load_into(decoder, content.state, path)
        written = to_published(decoder)
        yield exact(f"{path.name} names", sorted(written), sorted(content.state))
        if content.normaliser is not None:
            yield from same_normaliser(path.name, content.normaliser, tables)
        with torch.no_grad():
            yield compare(f"{path.name} out", decoder(x, time), arrays["out"], DECODER)
            double = rounded_angles(decoder.double())
            yield compare(f"{path.name} out_f64", double(x.double(), time), arrays["out_f64"], DOUBLE)
    yield from arrays.unread()
    yield from _normaliser(tables)


def _normaliser(tables: Arrays) -> Iterator[Check]:
    ours = normaliser_of(tables)
    yield exact("feature_range", tables["feature_range"].tolist(), [-10, 10])
    yield exact("columns", tables["cols_to_normalize"].tolist(), list(range(len(ours.min_))))
    again = MinMax(len(ours.min_)).set_range(ours.data_min_, ours.data_max_, ours.samples)
    yield from same_normaliser("from its range", again, tables)
    yield compare("normalise", ours.normalise(tables.tensor("normalize_in")), tables["normalize_out"], FILE)
    yield compare("unnormalise", ours.denormalise(tables.tensor("unnormalize_in")), tables["unnormalize_out"], FILE)
    data = tables.tensor("fit_in")
    fitted = MinMax(data.shape[-1]).fit(data)
    yield from same_normaliser("fit", fitted, tables, "fit_")
    yield compare("fit, normalised", fitted.normalise(data[0]), tables["fit_normalized"], FILE)
    only = tables["fit_subset_cols"].tolist()
    yield compare("fit, some columns", fitted.normalise(data[1], only), tables["fit_subset_normalized"], FILE)
    yield from tables.unread()


def decoder(case: Path) -> Iterator[Check]:
    """Answers and intermediate tensors at several lengths; names and shapes at the published size."""
    yield from strange(case, {".json", ".npz", ".pt"})
    manifests = sorted(case.glob("manifest*.json"))
    for path in manifests:
        yield from _manifest(path)
    for path in sorted(case.glob("*.npz")):
        described = path.with_suffix(".json")
        described = described if described.is_file() else (manifests or [described])[0]
        stored = facts(described)
        network, _ = load(path.with_suffix(".pt"), stored.get("hyper_parameters", stored))
        arrays = Arrays(path)
        for case_name in sorted({name.rpartition("/")[0] for name in arrays if name.endswith("/x")} | _bare(arrays)):
            yield from _answers(path.stem, case_name, network.float(), arrays)
        yield from arrays.unread()
        if "n_parameters" in stored:
            yield exact(f"{path.stem} parameters", _count(to_published(network)), stored["n_parameters"])


def _bare(arrays: Arrays) -> set[str]:
    return {""} if "x" in arrays else set()


def _count(state: dict[str, Tensor]) -> int:
    """Parameters without buffers."""
    return sum(value.numel() for name, value in state.items() if not name.endswith(("freqs", ".pe")))


def _manifest(path: Path) -> Iterator[Check]:
    listed = facts(path)
    with torch.device("meta"):
        published = to_published(Decoder(sizes(listed["hyper_parameters"])))
    expected = listed["state_dict"]
    yield exact(f"{path.stem} names in order", list(published), list(expected))
    for name, value in published.items():
        if name in expected:
            found = (list(value.shape), str(value.dtype).removeprefix("torch."))
            yield exact(f"{path.stem} {name}", found, (expected[name]["shape"], expected[name]["dtype"]))
    yield exact(f"{path.stem} parameters", _count(published), listed["n_parameters"])


def _answers(stem: str, case_name: str, network: Decoder, arrays: Arrays) -> Iterator[Check]:
    prefix = f"{case_name}/" if case_name else ""
    x, time = arrays.tensor(f"{prefix}x"), arrays.tensor(f"{prefix}t")
    trace: dict[str, Tensor] = {}
    with torch.no_grad():
        out = network(x, time, trace=trace)
        yield compare(f"{stem} {prefix}out", out, arrays[f"{prefix}out"], DECODER)
        for name in [n for n in arrays if n.startswith(f"trace_{prefix}")]:
            value = trace.get(name.removeprefix(f"trace_{prefix}"))
            if value is not None:
                yield compare(f"{stem} {name}", value, arrays[name], DECODER)
        if f"{prefix}out_f64" in arrays:
            yield _double(f"{stem} {prefix}out_f64", network, x, time, arrays[f"{prefix}out_f64"])
    network.float()


def _double(label: str, network: Decoder, x: Tensor, time: Tensor, expected: Any) -> Check:
    """Double precision; references were run with exact rotary angles or with float32 ones (see the vectors' README)."""
    plain = compare(label, network.double()(x.double(), time), expected, DOUBLE)
    if plain.passed or network.rotary is None:
        return plain
    rounded = compare(label, rounded_angles(network)(x.double(), time), expected, DOUBLE)
    del network.rotary.forward
    return rounded


def kinematics(case: Path) -> Iterator[Check]:
    """Rotations, model states to coordinates, and where joints and segments are."""
    yield from strange(case, {"vectors.npz", "meta.json"})
    arrays, meta = Arrays(case / "vectors.npz"), facts(case / "meta.json")
    for key, ours in (("joint_names", JOINTS), ("foot_order", FEET), ("segment_order", SEGMENTS)):
        yield exact(key, list(ours), meta[key])
    yield exact("osim_columns", list(columns.OSIM), meta["osim_columns"])
    matrix, raw = arrays.tensor("matrix"), rotations.from_6d(arrays.tensor("raw6"))
    outputs = {
        "matrix": rotations.from_euler(arrays.tensor("euler_zxy")),
        "sixd": rotations.to_6d(matrix),
        "euler_back": rotations.to_euler(rotations.from_6d(arrays.tensor("sixd"))),
        "raw6_matrix": raw,
        "raw6_euler": rotations.to_euler(raw),
        "matrix_xyz": rotations.from_euler(arrays.tensor("euler_xyz"), "xyz"),
        "matrix_xyz_back": rotations.to_euler(arrays.tensor("matrix_xyz"), "xyz"),
    }
    for name in [n for n in arrays if n.startswith("angular_velocity_fs")]:
        outputs[name] = rotations.angular_velocity(matrix, float(name.removeprefix("angular_velocity_fs")))
    given, height = arrays.tensor("inverse/states"), arrays.tensor("inverse/height_m")
    outputs["inverse/osim"] = states.to_osim(given, height)
    outputs["inverse/osim_with_pos_vec"] = states.to_osim(given, height, arrays.tensor("inverse/pos_vec"))
    poses, knee = arrays.tensor("inverse/osim"), arrays.tensor("fk/walker_knee_coefficients")
    frames = {"id": torch.eye(4)[:, :, None].expand(4, 4, arrays["fk/offsets_real"].shape[-1])}
    frames["real"] = arrays.tensor("fk/offsets_real")
    for name, fixed in frames.items():
        pose = forward(poses, Skeleton(fixed, knee))
        outputs[f"fk/{name}/joints"] = pose.joints.movedim(-2, 0)
        outputs[f"fk/{name}/feet"] = outputs[f"fk/{name}/foot"] = pose.feet.movedim(-2, 0)
        outputs[f"fk/{name}/segments"] = pose.segments.movedim(-3, 0)
    for name, value in outputs.items():
        if name in arrays:
            yield compare(name, value, arrays[name], FILE)
    yield from arrays.unread()


def optim(case: Path) -> Iterator[Check]:
    """Adan as the authors run it, and one step of the average of weights."""
    yield from strange(case, {"vectors.npz"})
    arrays = Arrays(case / "vectors.npz")
    names = sorted(match.group(1) for name in arrays if (match := re.fullmatch(r"(\w)0", name)))
    weights = [torch.nn.Parameter(arrays.tensor(f"{name}0").clone()) for name in names]
    rate, decay = float(arrays["lr"]), float(arrays["weight_decay"])
    optimizer = Adan(weights, lr=rate, weight_decay=decay, variant="upstream")
    for step, gradient in enumerate(arrays.tensor("grads")):
        parts = gradient.split([weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.reshape(weight.shape)
        optimizer.step()
        for name, weight in zip(names, weights, strict=True):
            yield compare(f"{name} after step {step}", weight.detach(), arrays[name][step], FILE)
    if "ema_old" in arrays:
        old, new = arrays.tensor("ema_old"), arrays.tensor("ema_new")
        yield compare("average", old * 0.999 + new * 0.001, arrays["ema_result"], FILE)
    yield from arrays.unread()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "columns": column_lists,
    "checkpoint": checkpoint,
    "decoder": decoder,
    "kinematics": kinematics,
    "optim": optim,
}
