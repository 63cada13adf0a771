"""GaitDynamics' schedules, training terms, posterior and samplers against the authors' code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.diffusion import betas
from hmu.backbones.gaitdynamics.objectives import body_terms, column_terms, elementwise, weight_of
from hmu.backbones.gaitdynamics.options import SamplingOptions
from hmu.backbones.gaitdynamics.sampling import ColumnGuidance, Known, ddim
from hmu.gait.normaliser import MinMax
from hmu.gait.skeleton import Skeleton
from tests.parity.ancestral import ancestral, posterior, step, tables
from tests.parity.case import DOUBLE, Case, Table
from tests.parity.checks import Checks, compare, deviation, exact, fewest_failures, nearest, unchecked
from tests.parity.gait_models import (
    CHAOTIC,
    DECODER,
    FILE,
    SAMPLING,
    body,
    nearest_normaliser,
    network,
    stored_network,
    twins,
)
from tests.parity.gait_setting import SCHEDULES, SPELLINGS, TIMESTEPS, Setting
from tests.parity.kinds import compares
from tests.parity.manifests import published
from tests.published import options as published_options

TERMS = {"simple": "simple", "vel": "velocity", "drift": "drift", "fk": "fk", "slide": "slide"}
ORDER = ("simple", "vel", "fk", "drift", "slide")  # of the authors' list
LEVELS = {"hi": -1, "mid": 400, "low": 1, "zero": 0}  # -1: the last timestep


# -- schedules ---------------------------------------------------------------------------------------------------------
def schedules(case: Case) -> Checks:
    """Betas in double precision and every registered buffer."""
    for fit in case.find(r"(?:(make_beta)/)?([^/]+)/(\d+)(?:/(\w+))?"):
        name, table = fit[0], fit[4]
        schedule = SPELLINGS.get(fit[2], fit[2])
        if schedule not in SCHEDULES or not (fit[1] or table):
            continue
        process = Setting(schedule, int(fit[3])).process
        if fit[1]:
            yield compare(name, betas(process.options), case.raw(name), DOUBLE)
            continue
        value = tables(process)[table]
        if table == "p2_loss_weight" and bool((case.raw(name) == 1).all()):
            value = torch.ones_like(value)  # recorded with the weighting off
        yield compare(name, value, case.raw(name), FILE)


# -- training ----------------------------------------------------------------------------------------------------------
NOISED_ROWS: Table = {
    "q_sample": (lambda case, net: _noisy(case, Setting()), FILE),
    "model_out_at_noisy": lambda case, net: net(_noisy(case, Setting()), case["t"]),
}


def training(case: Case, net: Decoder) -> Checks:
    """Terms of every variant and skeleton in both precisions, and the posterior."""
    variants = case.facts.get("variants", {})
    yield from case.rows(net, NOISED_ROWS, DECODER)
    for variant, frames, bits in dict.fromkeys(m.groups() for m in case.find(r"loss/([^/]+)/([^/]+)/(f32|f64)/.+")):
        view, nets = (case.double(), twins(net)) if bits == "f64" else (case, iter([net]))
        part, offsets = view.under(f"loss/{variant}/{frames}/{bits}/"), f"model_offsets_{frames}"
        if frames != "id" and offsets not in case:
            yield unchecked(part.at, f"no {offsets}")
            continue
        skeleton = body(case, offsets if offsets in case else "")
        setting = Setting.recorded(variants.get(variant, {}), variant)
        yield from fewest_failures(_losses(view, part, setting, twin, skeleton) for twin in nets)
    for variant in dict.fromkeys(m[1] for m in case.find(r"posterior/([^/]+)/.+")):
        part = case.under(f"posterior/{variant}/")
        recorded = Setting.recorded(variants.get(variant, {}), variant)
        candidates = [recorded] if variant in variants and "clip" not in variant else recorded.others()

        def error(setting: Setting, part: Case = part) -> float:
            return max((check.deviation for check in _posterior(case, part, setting, net)), default=0.0)

        yield from _posterior(case, part, nearest(candidates, error), net)


def _noisy(case: Case, setting: Setting) -> Tensor:
    return setting.process.add(case["x_start"], case["noise"], case["t"])


def _losses(case: Case, part: Case, setting: Setting, net: Decoder, skeleton: Skeleton) -> Checks:
    """Weighted and unweighted terms. The FK terms pass through float32 in the double references."""
    tolerance = FILE if part.at.endswith("f32/") else 1e-8
    for name, value in loss_terms(case, setting, net, skeleton).items():
        yield from part.given({name: value}, DECODER if name == "loss_simple_map" else tolerance)


def loss_terms(case: Case, setting: Setting, net: Decoder, skeleton: Skeleton) -> dict[str, Any]:
    """Every number of the training objective under its stored name."""
    process, objective, time = setting.process, setting.objective, case["t"]
    out, target = net(_noisy(case, setting), time), process.target(case["x_start"], case["noise"])
    weight = weight_of(objective, process, time, out)
    normaliser = _normaliser(case.folder)
    terms = column_terms(objective, out, target)
    if normaliser is not None:
        terms |= body_terms(objective, normaliser, out, target, case["height_m"], skeleton, variant="upstream")
    means = {theirs: (terms[ours] * weight).mean() for theirs, ours in TERMS.items() if ours in terms}
    weighted = [float(means["simple"]) if name == "simple" else 0.0 for name in ORDER]
    simple = elementwise(objective, out, target) * weight[:, None, None]
    outputs: dict[str, Any] = {"total": means["simple"], "weighted_terms": weighted, "loss_simple_map": simple}
    return outputs | {f"unweighted_mean/{name}": value for name, value in means.items()}


def _normaliser(folder: Path) -> MinMax | None:
    """The stored network's, else that of the nearest checkpoint case."""
    path = folder / "net.pt"
    own = stored_network(path, {})[1] if path.is_file() else None
    return own or nearest_normaliser(folder)


def _posterior(case: Case, part: Case, setting: Setting, net: Decoder) -> Checks:
    """Means, variances and steps back, at the recorded timesteps."""
    for level in dict.fromkeys([m[1] for m in part.find(r"(\w+)/.+")] + [m[1] for m in part.find(r".+_t(\d+)")]):
        yield from part.given(steps_back(level, part["x_t"], case["noise"], setting, net), DECODER)


def steps_back(level: str, x: Tensor, noise: Tensor, setting: Setting, net: Decoder) -> dict[str, Tensor]:
    """One step back from ``x`` ``(batch, frames, features)`` at a level (``mid``) or timestep (``400``)."""
    process, number = setting.process, int(level) if level.isdigit() else LEVELS.get(level, 0)
    if number >= process.timesteps:
        return {}
    time = torch.full((len(x),), number % process.timesteps)
    out = net(x, time)
    clean = setting.clipped(process.to_clean(out, x, time))
    mean, log_variance = posterior(process, clean, x, time)
    return {
        f"{level}/mean": mean,
        f"{level}/x_recon": clean,
        f"{level}/log_var": log_variance.flatten(),
        f"p_sample_t{level}": step(process, clean, x, time, noise),
        # the authors' DDIM takes any answer for clean states
        f"pred_noise_t{level}": process.to_noise(setting.clipped(out), x, time),
    }


# -- sampling ----------------------------------------------------------------------------------------------------------
def documented_noise(index: int, shape: torch.Size) -> Tensor:
    """``sqrt 2 sin(1.37 i + 2.11 k + 0.5)`` over the flat index, double then float32; of the k-th draw."""
    flat = np.arange(int(np.prod(shape)), dtype=np.float64)
    values = np.sqrt(2) * np.sin(1.37 * flat + 2.11 * index + 0.5)
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def replay(case: Case, net: Decoder, setting: Setting, restore: bool) -> Tensor:
    """One recorded run, ``(batch, frames, features)`` normalised.

    Draws that are not stored follow the documented formula: draw 0 starts, then two per step, the second one is used.
    """
    given = case[case.first("x_T", "value")]
    start = given if "x_T" in case else documented_noise(0, given.shape).to(case.dtype)
    known = Known(case["value"], case["mask"]) if "value" in case else None
    some = known if known is not None and bool(known.mask.any()) else None
    process, calls = setting.process, case.get("noises_in_call_order")
    plain = replace(setting, noise=False).process  # the network below answers with clean states

    def clean(x: Tensor, time: Tensor) -> Tensor:
        out = net(x, time)
        return setting.clipped(out if calls is None else process.to_clean(out, x, time))

    if calls is not None:
        return ancestral(clean, plain, start, iter(calls), known=some, restore=False)
    guidance, options = None, published_options(SamplingOptions, steps=setting.steps)
    if "opt" in case and known is not None:
        end, begin, count, rate = case.raw("opt").tolist()
        options = SamplingOptions(options.steps, int(begin), int(end), int(count), float(rate))
        guidance = ColumnGuidance(known.value, case["value_diff_thd"], case["value_diff_weight"])
    stored = case.get("value_noise")
    steps = options.steps if stored is None else len(stored) + 1
    noises = (documented_noise(2 * step, start.shape).to(case.dtype) for step in range(1, steps))
    draws = noises if stored is None else iter(stored)
    return ddim(clean, plain, start, options, steps=steps, known=some, noises=draws, guidance=guidance,
                variant="upstream", restore=restore).detach()  # fmt: skip


def sampling(case: Case, net: Decoder, normaliser: MinMax | None) -> Checks:
    """Every sampler replayed, in single and double precision."""
    for fit in case.find(r"ddim_times/(\d+)"):
        process = Setting(timesteps=int(fit[1])).process
        yield exact(fit[0], process.ddim_times(len(case.raw(fit[0])) - 1), case.raw(fit[0]).tolist())
    for run in dict.fromkeys(m[1] for m in case.find(r"((?:[^/]+/)?)out_(?:un)?normalised(?:_f64)?")):
        yield from _run(case.under(run), net, normaliser, run.rstrip("/") or case.part)
    yield from case.unread()


def _run(case: Case, net: Decoder, normaliser: MinMax | None, name: str) -> Checks:
    case.used |= {case.at + n for n in ("global_seed_before_call", "mask", "value")}
    recorded = Setting.recorded(case.settings(name), name)
    target = case.first("out_normalised", "out_unnormalised", "out_normalised_f64")
    restores = sorted((True, False), key=lambda restore: restore != name.startswith("guided"))

    def real(states: Tensor) -> Tensor:
        return normaliser.denormalise(states) if normaliser else states

    def error(guess: tuple[Setting, bool]) -> float:
        out = replay(case, net, *guess)
        return deviation(real(out) if target == "out_unnormalised" else out, case.raw(target))

    setting, restore = nearest(((s, r) for s in recorded.others() for r in restores), error)
    tolerance = _tolerance(case, setting)
    single = replay(case, net, setting, restore)
    if "out_normalised" in case:
        yield compare(name, single, case.raw("out_normalised"), tolerance, absolute=True)
    if "out_unnormalised" in case and normaliser is not None:
        yield compare(f"{name} unnormalised", real(single), case.raw("out_unnormalised"), tolerance, absolute=True)
    if "out_normalised_f64" in case:
        expected = case.raw("out_normalised_f64")
        doubles = (replay(case.double(), twin, setting, restore) for twin in twins(net))
        yield from fewest_failures([compare(f"{name}_f64", x, expected, tolerance, absolute=True)] for x in doubles)


def _tolerance(case: Case, setting: Setting) -> float:
    """Four times what single precision costs the authors in this run, where both are stored; within limits."""
    if {"out_normalised", "out_normalised_f64"} <= set(case.names()):
        spread = float(np.abs(case.raw("out_normalised") - case.raw("out_normalised_f64")).max())
        return min(max(SAMPLING, 4 * spread), CHAOTIC)
    return SAMPLING if setting.timesteps >= TIMESTEPS else CHAOTIC


# -- folders -----------------------------------------------------------------------------------------------------------
def with_parts(folder: Path) -> bool:
    """SALAD has a case of this name too, with flat names."""
    names = (name for path in folder.glob("*.npz") for name in np.load(path).files)
    return any("/" in name or name == "x_T" for name in names)


@compares("diffusion", known=(".npz", ".json", ".pt"), files=(), claims=with_parts)
def diffusion(folder: Case) -> Checks:
    """All files of a diffusion case; what a file is about follows from its arrays."""
    path, recorded = folder.folder / "net.pt", folder.facts.get("net", {})
    if not (recorded or path.is_file()):  # a file's sizes are those of its shapes
        recorded = published(folder.folder, "decoder")
    for case in Case.each(folder.folder, folder.facts):
        if case.find(r"make_beta/.+|[^/]+/\d+/betas"):
            yield from schedules(case)
            yield from case.unread()
            continue

        def error(net: Decoder, case: Case = case) -> float:
            return _first(case, net)

        net = network(path, recorded, error, case.folder.name, case.part)
        if "x_start" in case:
            yield from training(case, net)
            yield from case.unread()
        else:
            yield from sampling(case, net, _normaliser(case.folder))


def _first(case: Case, net: Decoder) -> float:
    """How far a network's first output is from the stored one."""
    if "model_out_at_noisy" in case:
        return case.off(net, NOISED_ROWS, "model_out_at_noisy")
    runs = [m[1] for m in case.find(r"((?:[^/]+/)?)out_(?:un)?normalised")]
    if not runs:
        return 0.0
    part, normaliser = case.under(runs[0]), nearest_normaliser(case.folder)
    out = replay(part, net, Setting.recorded({}, runs[0]), restore=runs[0].startswith("guided"))
    if "out_normalised" in part:
        return deviation(out, part.raw("out_normalised"))
    return 0.0 if normaliser is None else deviation(normaliser.denormalise(out), part.raw("out_unnormalised"))
