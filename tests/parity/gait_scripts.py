"""Full-size runs of the authors' scripts: speeds, sweeps, inpainting, and the layout of an adapter's training."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmu.backbones.gaitdynamics.authors import acting, published_modules, read_adapter
from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.diffusion import Diffusion
from hmu.backbones.gaitdynamics.options import DecoderOptions, SamplingOptions, ScheduleOptions
from hmu.backbones.gaitdynamics.sampling import Known, ddim
from hmu.gait import columns
from hmu.gait.mot import read_table, write_table
from hmu.gait.normaliser import MinMax
from hmu.gait.states import to_osim
from tests import published
from tests.parity.checks import Check, compare, exact
from tests.parity.gait import decoder
from tests.parity.gait_files import SAMPLING, beside, facts, filled, normaliser_of, strange
from tests.parity.salad_files import Arrays

INPAINT_HEIGHT = 1.75  # metres: what the authors' script assumes


def scripts(case: Path) -> Iterator[Check]:
    """Every kind of run that a folder holds."""
    yield from strange(case, set(RUNS))
    for name, run in RUNS.items():
        if (case / name).is_dir():
            yield from run(case / name)


@lru_cache(maxsize=1)
def _network() -> Decoder:
    """The published size, filled by the documented formula."""
    return filled(published.options(DecoderOptions))


def _normaliser(case: Path) -> MinMax:
    return normaliser_of(Arrays(beside(case.parent, "**/normalizer.npz", "scale_")))


def _csv(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    return header.split(","), np.array([[float(value) for value in row.split(",")] for row in rows])


def _sampled(start: Tensor) -> Tensor:
    """Unguided sampling as the authors run it: their guidance window is empty, so the speed asked for has no effect."""
    return ddim(
        _network(),
        Diffusion(published.options(ScheduleOptions)),
        start,
        published.options(SamplingOptions),
        variant="upstream",
    )


def _poses(states: Tensor, height: float) -> NDArray[np.float64]:
    """Time and the 23 coordinates of un-normalised states ``(1, frames, 63)``."""
    osim = to_osim(states, height)[0, :, : len(columns.COORDINATES)].double().numpy()
    return np.concatenate([np.arange(len(osim))[:, None] / columns.FPS, osim], 1)


def _speeds(case: Path) -> Iterator[Check]:
    """CSV (and ``.mot``) of each speed, from the stored noise."""
    yield from strange(case, {"meta.json", "x_T.npz", ".csv", ".mot"})
    meta, noise, normaliser = facts(case / "meta.json"), Arrays(case / "x_T.npz"), _normaliser(case)
    tables = sorted(case.glob("*.csv"))
    for index, speed in enumerate(meta["speeds_mps"]):
        path = next(p for p in tables if f"_{speed:.2f}ms" in p.name)
        states = normaliser.denormalise(_sampled(noise.tensor(f"x_T_{index}")))
        ours = _poses(states, float(meta["height_m"]))
        header, values = _csv(path)
        yield exact(f"{path.name} columns", header, ["time", *columns.COORDINATES])
        yield compare(path.name, ours, values, SAMPLING)
        if path.with_suffix(".mot").is_file():
            yield from _mot(path.with_suffix(".mot"), values)
    yield from noise.unread()


def _mot(path: Path, values: NDArray[np.float64]) -> Iterator[Check]:
    """The ``.mot`` file: read, compared with the CSV, and written again byte for byte."""
    table = read_table(path)
    yield exact(f"{path.name} columns", table.names, columns.COORDINATES)
    yield exact(f"{path.name} radians", table.degrees, False)
    yield compare(path.name, table.values, values[:, 1:], 1e-7, absolute=True)
    copy = _temporary(path.name)
    try:
        write_table(copy, table.names, table.time, table.values, degrees=False)
        yield exact(f"{path.name} bytes", copy.read_bytes(), path.read_bytes())
    finally:
        copy.unlink(missing_ok=True)


def _temporary(name: str) -> Path:
    import tempfile

    return Path(tempfile.mkdtemp(prefix="hmu-parity-")) / name


def documented_noise(index: int, shape: torch.Size) -> Tensor:
    """``sqrt 2 sin(1.37 i + 2.11 k + 0.5)`` over the flat index, double then float32."""
    flat = np.arange(int(np.prod(shape)), dtype=np.float64)
    values = np.sqrt(2) * np.sin(1.37 * flat + 2.11 * index + 0.5)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def _inpaint(case: Path) -> Iterator[Check]:
    """Kinematics known, kinetics generated; every draw is documented, the odd ones are never used."""
    yield from strange(case, {".npz", ".csv"})
    path = next(iter(sorted(case.glob("*.npz"))))
    arrays, normaliser = Arrays(path), _normaliser(case)
    known = Known(arrays.tensor("value"), arrays.tensor("mask"))
    count = published.options(SamplingOptions).steps
    noises = (documented_noise(2 * step, known.value.shape) for step in range(1, count))
    start = documented_noise(0, known.value.shape)
    out = ddim(
        _network(),
        Diffusion(published.options(ScheduleOptions)),
        start,
        published.options(SamplingOptions),
        known=known,
        noises=noises,
        variant="upstream",
        restore=False,
    )
    states = normaliser.denormalise(out)
    yield compare("inpainted", states, arrays["out_unnormalised"], SAMPLING)
    for table in sorted(case.glob("*.csv")):
        header, values = _csv(table)
        yield exact(f"{table.name} columns", header, ["time", *columns.COORDINATES])
        yield compare(table.name, _poses(states, INPAINT_HEIGHT), values, SAMPLING)
    yield from arrays.unread()


def _training(case: Path) -> Iterator[Check]:
    """The layout of an adapter: modules, rank and number of parameters agree with settings and messages."""
    yield from strange(case, {"config.json", "stdout.txt", ".pt"})
    config = facts(case / "config.json")
    rank, layers = int(config["lora_r"]), _network().options.layers
    modules = published_modules(layers)
    for path in sorted(case.glob("*.pt")):
        factors, normaliser = read_adapter(path)
        yield exact(f"{path.name} modules", sorted(factors), sorted(modules))
        yield exact(f"{path.name} rank", {len(down) for down, _ in factors.values()}, {rank})
        total = sum(down.numel() + up.numel() for down, up in factors.values())
        said = re.search(r"Replaced modules: (\d+)\. Trainable parameters: (\d+)", (case / "stdout.txt").read_text())
        yield exact(f"{path.name} said", said and [int(x) for x in said.groups()], [len(modules), total])
        idle = [name for name in modules if name not in acting(modules) and bool(factors[name][1].any())]
        yield exact(f"{path.name} attention adapters never trained", idle, [])
        yield exact(f"{path.name} normaliser", normaliser is not None, True)


RUNS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "inpaint": _inpaint,
    "lora_training": _training,
    "speed_sweep": _speeds,
    "unconditional_speed": _speeds,
}


def full(case: Path) -> Iterator[Check]:
    """A case at the published size without stored weights: a run of a script, or answers of the network."""
    with np.load(next(iter(sorted(case.glob("*.npz"))))) as first:
        names = set(first.files)
    run = _inpaint if {"value", "mask"} <= names else _speeds if (case / "x_T.npz").is_file() else decoder
    yield from run(case)


def claims(case: Path) -> bool:
    """Other systems have cases of these names too: ours hold the files of a script, or the authors' names of sizes."""
    if any((case / name).exists() for name in ("x_T.npz", *RUNS)) or any(case.glob("inpaint*")):
        return True
    return any("nfeats" in path.read_text(encoding="utf-8") for path in case.glob("*.json"))


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "scripts": scripts,
    **RUNS,
    "full": full,
    "full_sine": full,
    "full_hash": full,
}
