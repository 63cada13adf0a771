"""Full-size runs of the authors' scripts: speeds, sweeps, inpainting, and the layout of an adapter's training."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hmu.backbones.gaitdynamics.authors import read_adapter
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.gait import columns
from hmu.gait.mot import read_table, write_table
from hmu.gait.states import to_osim
from tests.parity.case import Case, facts_of, read_arrays, read_json
from tests.parity.checks import Checks, compare, deviation, exact, unchecked
from tests.parity.gait import decoder
from tests.parity.gait_diffusion import diffusion, replay, sampling
from tests.parity.gait_lora import acting, published_modules
from tests.parity.gait_models import SAMPLING, nearest_normaliser, network
from tests.parity.gait_setting import Setting
from tests.parity.kinds import CaseRunner, compares
from tests.parity.manifests import published

HEIGHT = 1.75  # metres: the authors' default
PUBLISHED_LAYERS = 4
SPEEDS = ("speed_sweep", "unconditional_speed")


def _network(case: Case, error: Callable[[Decoder], float]) -> Decoder:
    """The published size, filled by the rule that fits."""
    return network(case.folder / "net.pt", published(case.folder, "decoder"), error, case.folder.name, case.part)


def _csv(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    return header.split(","), np.array([[float(value) for value in row.split(",")] for row in rows])


def poses(states: Tensor, height: float) -> NDArray[np.float64]:
    """Time and the 23 coordinates of un-normalised states ``(1, frames, 63)``."""
    osim = to_osim(states, height)[0, :, : len(columns.COORDINATES)].double().numpy()
    return np.concatenate([np.arange(len(osim))[:, None] / columns.FPS, osim], 1)


def _height(folder: Path, states: Tensor, table: NDArray[np.float64]) -> float:
    """Of a JSON, else measured: the root's positions are proportional to it; else the authors' default."""
    if "height_m" in (facts := facts_of(folder)):
        return float(facts["height_m"])
    root = [1 + i for i in columns.osim(columns.ROOT)]
    unit = poses(states, 1.0)[:, root]
    if table.shape[1] <= max(root) or not np.any(unit):
        return HEIGHT
    return round(float((unit * table[: len(unit), root]).sum() / (unit * unit).sum()), 3)


def _tables(folder: Path, states: Tensor, tables: list[Path]) -> Checks:
    """Coordinates in the files that the authors wrote."""
    for path in tables:
        header, values = _csv(path)
        yield exact(f"{path.name} columns", header, ["time", *columns.COORDINATES])
        yield compare(path.name, poses(states, _height(folder, states, values)), values, SAMPLING)
        if path.with_suffix(".mot").is_file():
            yield from _mot(path.with_suffix(".mot"), values)


@compares(*SPEEDS, known=(".json", ".npz", ".csv", ".mot"))
def speeds(case: Case) -> Checks:
    """CSV (and ``.mot``) of each speed, from the stored noise.

    Unguided, as the authors run it: their guidance window is empty, so the speed that is asked for has no effect.
    """
    folder, normaliser = case.folder, nearest_normaliser(case.folder)
    starts, tables = case.find(r"x_T(?:_(\d+))?"), sorted(folder.glob("*.csv"))
    if normaliser is None or not tables:
        yield unchecked("speeds", "no normaliser or no table")
        return
    named = {path: float(m[1]) for path in tables if (m := re.search(r"_([\d.]+)ms", path.name))}
    recorded = case.facts.get("speeds_mps", list(named.values()))

    def states(net: Decoder, name: str) -> Tensor:
        part = replace(case, stored={"x_T": case.raw(name)})
        return normaliser.denormalise(replay(part, net, Setting(), restore=False))

    def own(index: int) -> list[Path]:
        return [path for path, speed in named.items() if speed == recorded[index]] if named else tables[:1]

    pairs = {start[0]: own(int(start[1] or 0)) for start in starts}
    yield from (unchecked(name, "no table of its speed") for name, files in pairs.items() if not files)
    pairs = {name: files for name, files in pairs.items() if files}
    if not pairs:
        return

    def error(net: Decoder) -> float:
        name, files = next(iter(pairs.items()))
        out, values = states(net, name), _csv(files[0])[1]
        return deviation(poses(out, _height(folder, out, values)), values)

    net = _network(case, error)
    for name, files in pairs.items():
        yield from _tables(folder, states(net, name), files)


def _mot(path: Path, values: NDArray[np.float64]) -> Checks:
    """The ``.mot`` file: read, compared with the CSV, and written again byte for byte."""
    table = read_table(path)
    yield exact(f"{path.name} columns", table.names, columns.COORDINATES)
    yield exact(f"{path.name} radians", table.degrees, False)
    yield compare(path.name, table.values, values[:, 1:], 1e-7, absolute=True)
    with tempfile.TemporaryDirectory(prefix="hmu-parity-") as place:
        copy = Path(place) / path.name
        write_table(copy, table.names, table.time, table.values, degrees=False)
        yield exact(f"{path.name} bytes", copy.read_bytes(), path.read_bytes())


@compares("inpaint", known=(".npz", ".csv", ".json"), files=())
def inpaint(folder: Case) -> Checks:
    """Known values given, the rest generated; every draw that is not stored is documented."""
    normaliser = nearest_normaliser(folder.folder)
    for case in Case.each(folder.folder, folder.facts):

        def error(net: Decoder, case: Case = case) -> float:
            name = case.first("out_normalised", "out_unnormalised")
            out = replay(case, net, Setting(), restore=False)
            out = normaliser.denormalise(out) if name == "out_unnormalised" and normaliser else out
            return deviation(out, case.raw(name))

        net = _network(case, error)
        yield from sampling(case, net, normaliser)
        if normaliser is not None:
            states = normaliser.denormalise(replay(case, net, Setting(), restore=False))
            yield from _tables(case.folder, states, sorted(case.folder.glob("*.csv")))


@compares("lora_training", known=(".json", ".txt", ".pt"), files=())
def training(case: Case) -> Checks:
    """The layout of an adapter: modules, rank and number of parameters agree with settings and messages."""
    log = case.folder / "stdout.txt"
    layers = int(published(case.folder, "decoder").get("num_layers", PUBLISHED_LAYERS))
    modules = published_modules(layers)
    for path in sorted(case.folder.glob("*.pt")):
        factors, normaliser = read_adapter(path)
        rank = int(case.facts.get("lora_r", len(factors[modules[0]][0])))
        yield exact(f"{path.name} modules", sorted(factors), sorted(modules))
        yield exact(f"{path.name} rank", {len(down) for down, _ in factors.values()}, {rank})
        total = sum(down.numel() + up.numel() for down, up in factors.values())
        if log.is_file():
            said = re.search(r"Replaced modules: (\d+)\. Trainable parameters: (\d+)", log.read_text())
            yield exact(f"{path.name} said", said and [int(x) for x in said.groups()], [len(modules), total])
        else:
            yield unchecked(f"{path.name} said", "no stdout.txt")
        idle = [name for name in modules if name not in acting(modules) and bool(factors[name][1].any())]
        yield exact(f"{path.name} attention adapters never trained", idle, [])
        yield exact(f"{path.name} normaliser", normaliser is not None, True)


RUNS: dict[str, CaseRunner] = {"inpaint": inpaint, "lora_training": training, **dict.fromkeys(SPEEDS, speeds)}


@compares("scripts", known=tuple(RUNS), files=())
def scripts(case: Case) -> Checks:
    """Every kind of run that a folder holds."""
    for name, run in RUNS.items():
        if (case.folder / name).is_dir():
            yield from run(case.folder / name)


def of_gait(folder: Path) -> bool:
    """Other systems have cases of these names too: what ours hold are gait's columns, or the files of a script."""
    arrays = {name: value for path in folder.glob("*.npz") for name, value in read_arrays(path).items()}
    gait = any(re.fullmatch(r"(.*/)?(x|x_T\w*|value)", name) and value.shape[-1] == columns.FEATURES
               for name, value in arrays.items())  # fmt: skip
    recorded = any("nfeats" in str(read_json(path)) for path in folder.glob("*.json"))
    return gait or recorded or any((folder / name).exists() for name in RUNS)


@compares("full", "full_sine", "full_hash", known=("*",), files=(), claims=of_gait)
def full(case: Case) -> Checks:
    """A case at the published size without stored weights: a run of a script, or outputs of the network."""
    names = {name for path in case.folder.glob("*.npz") for name in read_arrays(path)}
    if {"value", "mask"} <= names:
        yield from inpaint(case.folder)
    elif any(name.startswith("x_T") for name in names):
        yield from speeds(case.folder)
    else:
        yield from (diffusion if any(name.endswith("/x_T") for name in names) else decoder)(case.folder)
