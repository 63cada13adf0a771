"""GaitDynamics' schedules, training terms, posterior and samplers against the authors' code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hmu.backbones.gaitdynamics.decoder import Decoder
from hmu.backbones.gaitdynamics.diffusion import Diffusion, betas
from hmu.backbones.gaitdynamics.objectives import Body, body_terms, column_terms, elementwise, weight_of
from hmu.backbones.gaitdynamics.options import ObjectiveOptions, SamplingOptions, ScheduleOptions
from hmu.backbones.gaitdynamics.sampling import ColumnGuidance, Known, ancestral, ddim
from hmu.errors import CheckpointError
from hmu.gait.normaliser import MinMax
from hmu.gait.skeleton import FRAMES, Skeleton
from tests import published
from tests.parity.checks import Check, compare, exact
from tests.parity.gait_files import CHAOTIC, DECODER, DOUBLE, FILE, SAMPLING, facts, knee, load, strange
from tests.parity.salad_files import Arrays

TERMS = {"simple": "simple", "vel": "velocity", "drift": "drift", "fk": "fk", "slide": "slide"}
ORDER = ("simple", "vel", "fk", "drift", "slide")  # of the authors' list
LEVELS = {"hi": -1, "mid": 400, "low": 1, "zero": 0}  # -1: the last timestep
PRECISIONS = {"f32": torch.float32, "f64": torch.float64}


def diffusion(case: Path) -> Iterator[Check]:
    """All files of a diffusion case."""
    yield from strange(case, {"schedules.npz", "training.npz", "sampling.npz", "net.pt", "meta.json"})
    if (case / "schedules.npz").is_file():
        yield from _schedules(Arrays(case / "schedules.npz"))
    meta = facts(case / "meta.json")
    network, normaliser = load(case / "net.pt", meta["net"])
    if normaliser is None:
        raise CheckpointError(f"{case / 'net.pt'}: missing; the case needs its normaliser")
    if (case / "training.npz").is_file():
        yield from _training(Arrays(case / "training.npz"), meta, network, normaliser, knee(case))
    if (case / "sampling.npz").is_file():
        yield from _sampling(Arrays(case / "sampling.npz"), network, normaliser)


def _schedules(arrays: Arrays) -> Iterator[Check]:
    """Betas in double precision and every registered buffer."""
    for name in arrays:
        parts = name.split("/")
        if parts[0] == "make_beta":
            options = published.options(ScheduleOptions, timesteps=int(parts[2]), beta_schedule=parts[1])
            yield compare(name, betas(options), arrays[name], DOUBLE)
            continue
        options = published.options(ScheduleOptions, timesteps=int(parts[1]), beta_schedule=parts[0])
        value = Diffusion(options).tables[parts[2]]
        if parts[2] == "p2_loss_weight" and bool((arrays[name] == 1).all()):
            value = torch.ones_like(value)  # recorded with the weighting off
        yield compare(name, value, arrays[name], FILE)


def _options(variant: Mapping[str, Any]) -> tuple[ScheduleOptions, ObjectiveOptions]:
    schedule = published.options(ScheduleOptions, predict="noise" if variant.get("predict_epsilon") else "sample")
    loss = {"l1": "l1", "l2": "l2"}[variant.get("loss_type", "l2")]
    return schedule, published.options(ObjectiveOptions, loss=loss, p2=bool(variant.get("use_p2", False)))


@torch.no_grad()
def _training(
    arrays: Arrays, meta: Mapping[str, Any], network: Decoder, normaliser: MinMax, polynomials: Tensor
) -> Iterator[Check]:
    skeletons = {"id": torch.eye(4)[:, :, None].expand(4, 4, FRAMES), "real": arrays.tensor("model_offsets_real")}
    for label, dtype in PRECISIONS.items():
        x, noise = arrays.tensor("x_start", dtype), arrays.tensor("noise", dtype)
        time, net = arrays.tensor("t"), network.to(dtype)
        noisy = Diffusion(published.options(ScheduleOptions)).add(x, noise, time)
        out = net(noisy, time)
        if label == "f32":
            yield compare("q_sample", noisy, arrays["q_sample"], FILE)
            yield compare("model_out_at_noisy", out, arrays["model_out_at_noisy"], DECODER)
        for name, variant in meta["variants"].items():
            schedule, objective = _options(variant)
            process = Diffusion(schedule)
            answer = process.target(x, noise)
            weight = weight_of(objective, process, time, out)
            for offsets, frames in skeletons.items():
                body = Body(arrays.tensor("height_m"), Skeleton(frames, polynomials))
                terms = column_terms(objective, out, answer)
                terms |= body_terms(objective, normaliser, out, answer, body, variant="upstream")
                means = {theirs: (terms[ours] * weight).mean() for theirs, ours in TERMS.items()}
                simple_map = elementwise(objective, out, answer) * weight[:, None, None]
                yield from _losses(f"loss/{name}/{offsets}/{label}", means, simple_map, arrays)
    for variant_name in sorted({n.split("/")[1] for n in arrays if n.startswith("posterior/")}):
        variant = meta["variants"].get(variant_name, {})
        yield from _posterior(f"posterior/{variant_name}", arrays, variant, variant_name, network.float())
    yield from arrays.unread()


def _losses(prefix: str, means: dict[str, Tensor], simple_map: Tensor, arrays: Arrays) -> Iterator[Check]:
    tolerance = FILE if prefix.endswith("f32") else 1e-8  # the FK terms pass through float32 in the references
    weighted = [float(means["simple"]) if name == "simple" else 0.0 for name in ORDER]
    outputs: dict[str, object] = {"total": means["simple"], "weighted_terms": weighted, "loss_simple_map": simple_map}
    outputs |= {f"unweighted_mean/{name}": value for name, value in means.items()}
    for name, value in outputs.items():
        if f"{prefix}/{name}" in arrays:
            wide = DECODER if name == "loss_simple_map" else tolerance
            yield compare(f"{prefix}/{name}", value, arrays[f"{prefix}/{name}"], wide)


def _posterior(prefix: str, arrays: Arrays, variant: Mapping[str, Any], name: str, network: Decoder) -> Iterator[Check]:
    """Means, variances and steps back; with ``clip`` the clean states are cut to [-1, 1]."""
    process = Diffusion(_options(variant)[0])
    x, noise = arrays.tensor(f"{prefix}/x_t"), arrays.tensor("noise")
    for level, number in LEVELS.items():
        time = torch.full((len(x),), number % process.timesteps)
        answer = network(x, time)
        clean = process.to_clean(answer, x, time)
        clean = clean.clamp(-1, 1) if name == "clip" else clean
        mean, log_variance = process.posterior(clean, x, time)
        outputs = {f"{level}/mean": mean, f"{level}/x_recon": clean, f"{level}/log_var": log_variance.flatten()}
        if number > 1:
            outputs[f"p_sample_t{number}"] = process.ancestral(clean, x, time, noise)
            # the authors' DDIM takes any answer for clean states
            shown = answer.clamp(-1, 1) if name == "clip" else answer
            outputs[f"pred_noise_t{number}"] = process.to_noise(shown, x, time)
        for key, value in outputs.items():
            if f"{prefix}/{key}" in arrays:
                yield compare(f"{prefix}/{key}", value, arrays[f"{prefix}/{key}"], DECODER)


def _process(name: str) -> Diffusion:
    """Number of timesteps and schedule are in a sampling case's name, where they are not the published ones."""
    words = name.split("_")
    steps = next((int(m.group(1)) for word in words if (m := re.fullmatch(r"n(\d+)", word))), 1000)
    shapes = {"sqrtlinear": "sqrt_linear", "cosine": "cosine", "sqrt": "sqrt"}
    schedule = next((shapes[word] for word in words if word in shapes), "linear")
    return Diffusion(published.options(ScheduleOptions, timesteps=steps, beta_schedule=schedule))


def _sampling(arrays: Arrays, network: Decoder, normaliser: MinMax) -> Iterator[Check]:
    """Every sampler replayed from its recorded noise, in single and double precision."""
    for name in sorted({n.split("/")[0] for n in arrays}):
        if name == "ddim_times":
            for key in [n for n in arrays if n.startswith("ddim_times/")]:
                process = Diffusion(published.options(ScheduleOptions, timesteps=int(key.split("/")[1])))
                yield exact(key, process.ddim_times(len(arrays[key]) - 1), arrays[key].tolist())
            continue
        arrays.get(f"{name}/global_seed_before_call")  # tells the authors' draws, which are stored themselves
        for dtype, suffix in ((torch.float32, ""), (torch.float64, "_f64")):
            if f"{name}/out_normalised{suffix}" not in arrays:
                continue
            out = replay(name, arrays, network.to(dtype), dtype)
            tolerance = CHAOTIC if "n60" in name else SAMPLING
            yield compare(f"{name}{suffix}", out, arrays[f"{name}/out_normalised{suffix}"], tolerance, absolute=True)
            if not suffix and f"{name}/out_unnormalised" in arrays:
                real = normaliser.denormalise(out)
                yield compare(
                    f"{name} unnormalised", real, arrays[f"{name}/out_unnormalised"], tolerance, absolute=True
                )
    yield from arrays.unread()


def replay(name: str, arrays: Arrays, network: Decoder, dtype: torch.dtype) -> Tensor:
    """One recorded sampling case, ``(batch, frames, features)`` normalised."""

    def tensor(key: str) -> Tensor:
        return arrays.tensor(f"{name}/{key}", dtype)

    process, start = _process(name), tensor("x_T")
    known = Known(tensor("value"), tensor("mask"))
    some = known if bool(known.mask.any()) else None
    if f"{name}/noises_in_call_order" in arrays:
        return ancestral(network, process, start, iter(tensor("noises_in_call_order")), known=some, restore=False)
    guidance, options = None, published.options(SamplingOptions)
    if f"{name}/opt" in arrays:
        end, begin, count, rate = arrays[f"{name}/opt"].tolist()
        options = SamplingOptions(50, int(begin), int(end), int(count), float(rate))
        guidance = ColumnGuidance(known.value, tensor("value_diff_thd"), tensor("value_diff_weight"))
    noises = tensor("value_noise") if f"{name}/value_noise" in arrays else None
    return ddim(
        network,
        process,
        start,
        options,
        steps=options.steps if noises is None else len(noises) + 1,
        known=some,
        noises=None if noises is None else iter(noises),
        guidance=guidance,
        variant="upstream",
        restore=name.startswith("guided"),
    ).detach()


def claims(case: Path) -> bool:
    """SALAD has a case of this name too; ours carries its network."""
    return (case / "net.pt").is_file()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"diffusion": diffusion}
