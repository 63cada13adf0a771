"""GaitDynamics' cases at sizes of our own: networks filled by two rules, settings that only names tell, heights."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.gait import columns
from hmu.gait.normaliser import MinMax
from tests.parity.case import Case
from tests.parity.fills import Fill, doubled
from tests.parity.gait import DECODER_ROWS
from tests.parity.gait_diffusion import documented_noise, loss_terms, replay, steps_back
from tests.parity.gait_models import body, filled_decoder, nearest_normaliser, rounded_angles, sizes
from tests.parity.gait_scripts import poses
from tests.parity.gait_setting import Setting
from tests.parity.synthetic import Arrays, Writer, answers, array, manifest, numbers, store

SMALL: dict[str, Any] = {"latent_dim": 16, "ff_size": 20, "num_layers": 1, "num_heads": 2}
COLUMNS = columns.FEATURES
SHAPE = (2, 14, COLUMNS)


def _net(system: Path, full: bool, rule: str) -> Decoder:
    if not full:
        manifest(system, "decoder", SMALL)
    return filled_decoder(sizes({} if full else SMALL), Fill(rule))


def _beside(system: Path) -> None:
    """What other cases hold: a normaliser and the knee's polynomials."""
    normaliser = MinMax(COLUMNS).fit([torch.from_numpy(numbers(9, 40, COLUMNS))])
    store(system / "heldout" / "checkpoint", dict(normaliser.named_buffers()), "normalizer")
    store(system / "heldout" / "kinematics", {"fk/walker_knee_coefficients": 0.05 * numbers(8, 3, 5)})


def decoder(system: Path, full: bool) -> Path:
    """Two files, each of a rule that its name tells; double precision with angles rounded to single in one."""
    folder = system / "heldout" / "decoder_full"
    for rule, at in product(("sine", "random"), ("T9/", "T31/")):
        net, inputs = _net(system, full, rule), {f"{at}x": numbers(1, 2, int(at[1:-1]), COLUMNS)}
        inputs |= {f"{at}t": np.array([7, 930])}
        outputs = inputs | answers(inputs, net, DECODER_ROWS, "out", at)
        twin: Any = next(doubled(net)) if rule == "sine" else rounded_angles(next(doubled(net)))
        with torch.no_grad():
            case = Case(folder, inputs, at=at).double()
            outputs[f"{at}out_f64"] = array(twin(case["x"], case["t"]))
        path = folder / f"full_{rule}.npz"
        store(folder, (dict(np.load(path)) if path.is_file() else {}) | outputs, path.stem)
    return folder


def _run(inputs: Arrays, net: Decoder, setting: Setting, restore: bool, normaliser: MinMax | None) -> Arrays:
    """One sampling run from stored noise, in both precisions."""
    case = Case(Path(), inputs)
    out = replay(case, net, setting, restore)
    outputs = {"out_normalised": out, "out_normalised_f64": replay(case.double(), next(doubled(net)), setting, restore)}
    outputs |= {"out_unnormalised": normaliser.denormalise(out)} if normaliser else {}
    return inputs | {name: array(value) for name, value in outputs.items()}


def sampling(system: Path, full: bool) -> Path:
    """Runs whose names tell steps, schedule and clipping, or which only their numbers tell; guided and inpainting."""
    _beside(system)
    net, folder, mask = _net(system, full, "random"), system / "heldout" / "diffusion_random", numbers(2, *SHAPE) > 0.4
    settings = {
        "ddim_respaced_50": Setting(timesteps=200),
        "ddim_n80_cosine": Setting("cosine", 80),
        "free_clipped": Setting(clip=True),
        "cols": Setting("cosine"),
    }
    arrays: Arrays = {}
    for number, (name, setting) in enumerate(settings.items()):
        part = {"x_T": numbers(number, *SHAPE), "mask": mask.astype(np.float32), "value": numbers(3, *SHAPE)}
        part |= {"value_noise": numbers(5, setting.steps - 1, *SHAPE)}
        run = _run(part, net, setting, False, nearest_normaliser(folder))
        arrays |= {f"{name}/{key}": value for key, value in run.items()}
    return store(folder, arrays, "sampling")


def training(system: Path, full: bool) -> Path:
    """Losses at other heights, and posteriors: answers that are noise, clipped ones, another schedule; no JSON."""
    _beside(system)
    net, folder = _net(system, full, "sine"), system / "heldout" / "diffusion_sine"
    inputs = {"x_start": numbers(1, *SHAPE), "noise": numbers(2, *SHAPE), "t": np.array([3, 610])}
    inputs |= {"height_m": np.array([1.52, 1.91], np.float32)}
    case, outputs = Case(folder, inputs), dict[str, Any]()
    skeleton = body(case)
    with torch.no_grad():
        noisy = Setting().process.add(case["x_start"], case["noise"], case["t"])
        outputs |= {"q_sample": noisy, "model_out_at_noisy": net(noisy, case["t"])}
        for variant, (bits, view) in product(("eps", "l1", "p2"), (("f32", case), ("f64", case.double()))):
            twin = net if bits == "f32" else next(doubled(net))
            terms = loss_terms(view, Setting.named(variant), twin, skeleton)
            outputs |= {f"loss/{variant}/id/{bits}/{name}": value for name, value in terms.items()}
        posteriors = {"eps": Setting(noise=True), "clip": Setting(clip=True), "cosine": Setting("cosine"),
                      "respaced_50": Setting(timesteps=50), "other": Setting("sqrt_linear", noise=True)}  # fmt: skip
        for number, (name, setting) in enumerate(posteriors.items()):
            x = numbers(20 + number, *SHAPE)
            steps: dict[str, Tensor | np.ndarray] = {"x_t": x}
            for level in ("mid", "low", "zero", "31"):
                steps |= steps_back(level, torch.from_numpy(x), case["noise"], setting, net)
            outputs |= {f"posterior/{name}/{key}": value for key, value in steps.items()}
    return store(folder, inputs | outputs, "training")


def inpainting(system: Path, full: bool) -> Path:
    """A full-size run of a script: draws by the documented formula, a person of 1.6 m told by no file."""
    _beside(system)
    net, folder = _net(system, full, "random"), system / "heldout" / "full_inpaint"
    value, setting = numbers(3, *SHAPE)[:1], Setting()
    part = {"value": value, "mask": (numbers(4, *SHAPE)[:1] > 0).astype(np.float32)}
    normaliser = nearest_normaliser(store(folder, part, "constraint"))
    assert normaliser is not None
    with torch.no_grad():
        states = normaliser.denormalise(replay(Case(folder, part), net, setting, restore=False))
    _table(folder / "inpaint_kinematics_known.csv", states, 1.6)
    return store(folder, part | {"out_unnormalised": states}, "constraint")


def speeds(system: Path, full: bool) -> Path:
    """Two speeds from stored noise, a person of 1.6 m, no JSON."""
    _beside(system)
    net, folder = _net(system, full, "random"), system / "heldout" / "unconditional_speed"
    normaliser, arrays = nearest_normaliser(store(folder, {}, "x_T")), dict[str, np.ndarray]()
    assert normaliser is not None
    for number, speed in enumerate((0.9, 1.5)):
        arrays[f"x_T_{number}"] = array(documented_noise(number, torch.Size((1, 30, COLUMNS))))
        with torch.no_grad():
            out = replay(Case(folder, {"x_T": arrays[f"x_T_{number}"]}), net, Setting(), restore=False)
        _table(folder / f"gen_speed_{speed:.2f}ms.csv", normaliser.denormalise(out), 1.6)
    return store(folder, arrays, "x_T")


def _table(path: Path, states: Tensor, height: float) -> None:
    rows = [",".join(["time", *columns.COORDINATES])]
    rows += [",".join(f"{value:.9g}" for value in row) for row in poses(states, height)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


WRITERS: dict[str, tuple[Writer, str]] = {
    "decoder": (decoder, "full_sine:T9/out full_random:T31/out_f64"),
    "sampling": (sampling, "ddim_respaced_50/out_normalised free_clipped/out_unnormalised cols/out_normalised_f64"),
    "training": (training, "loss/eps/id/f64/total posterior/other/mid/mean posterior/clip/p_sample_t31"),
    "inpainting": (inpainting, "out_unnormalised"),
    "speeds": (speeds, "x_T_1"),
}
