"""SALAD's schedule, guided sampling and body graphs against the authors' code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.salad.diffusion import Diffusion
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.options import ScheduleOptions
from hmu.backbones.salad.topology import BODY_PARTS, HALF_LIMBS, Topology, chain_edges
from hmu.data.batch import length_mask
from tests.parity.attention import AttentionMaps
from tests.parity.case import Case, Table, once, read_json
from tests.parity.checks import Checks, compare, exact, fewest_failures, inside
from tests.parity.fills import doubled
from tests.parity.kinds import compares
from tests.parity.salad_models import SAMPLING, frames_kept, model_for, prompts
from tests.published import options

#: spellings of diffusers' schedules
SCHEDULES = {"squaredcos": "squaredcos_cap_v2", "cosine": "squaredcos_cap_v2"}
PUBLISHED_STEPS, PUBLISHED_SCALE = 50, 7.5


# -- schedule ----------------------------------------------------------------------------------------------------------
def _options(case: Case, name: str) -> ScheduleOptions:
    """The schedule of that name; the ends of its betas are stored with it."""
    betas = case.raw(f"{name}_betas")
    start, end = (float(f"{beta:.5g}") for beta in (betas[0], betas[-1]))
    kind = next((known for word, known in SCHEDULES.items() if name.startswith(word)), name)
    published = options(ScheduleOptions, beta_schedule=kind)
    if kind.startswith("squaredcos"):  # its betas follow from their number
        start, end = published.beta_start, published.beta_end
    return replace(published, timesteps=len(betas), beta_start=start, beta_end=end)


def _scheduler(case: Case, name: str, kind: Any = "v_prediction") -> Any:
    return Diffusion(replace(_options(case, name), prediction_type=kind)).scheduler("DDIMScheduler")


def _timesteps(case: Case, _: None, name: str, count: str) -> Tensor:
    scheduler = _scheduler(case, name)
    scheduler.set_timesteps(int(count))
    return scheduler.timesteps


def _steps(case: Case, _: None, name: str, kind: str, which: str) -> Tensor:
    """One step of the sampler per stored timestep."""
    scheduler = _scheduler(case, name, kind)
    scheduler.set_timesteps(int(case.raw(f"{name}_step_n")))
    rows = zip(case["model_output"], case.raw(f"{name}_step_t"), case["x0"], strict=True)
    steps = [scheduler.step(output, int(time), current) for output, time, current in rows]
    return torch.stack([step.prev_sample if which == "prev" else step.pred_original_sample for step in steps])


def _process(case: Case, _: None, name: str, what: str) -> Tensor:
    process = Diffusion(replace(_options(case, name), prediction_type="v_prediction"))
    return (process.add if what == "add_noise" else process.target)(case["x0"], case["noise"], case["timesteps"])


TABLES: Table = {
    "(.+)_(betas|alphas_cumprod|final_alpha_cumprod|init_noise_sigma)": (
        lambda case, _, name, what: getattr(_scheduler(case, name), what), 1e-7
    ),
    r"(.+)_timesteps_(\d+)": _timesteps,
    "(.+)_(add_noise|velocity)": _process,
    "(.+?)_step_(v_prediction|epsilon|sample)_(prev|x0)": _steps,
}  # fmt: skip


@compares("diffusion")
def diffusion(case: Case) -> Checks:
    """Tables, noising, velocities, time steps and single sampler steps of every stored schedule."""
    yield from case.rows(None, TABLES, 1e-6)
    yield from case.double().rows(None, TABLES, 1e-9)


# -- sampling ----------------------------------------------------------------------------------------------------------
class Run:
    """A batch generated from stored noise, and one clip alone."""

    def __init__(self, case: Case, model: Salad, scale: float | None = None) -> None:
        noise = case["init_noise"]
        steps = case.number("steps", len(case.raw("timesteps")) if "timesteps" in case else PUBLISHED_STEPS)
        scale = case.number("cond_scale", PUBLISHED_SCALE) if scale is None else scale
        # what opt.txt would tell, and the stored empty prompt
        model.sampling = replace(model.sampling, steps=int(steps), guidance=scale)
        empty = prompts(case, np.array([0]))
        model.empty_condition = lambda: empty  # type: ignore[method-assign]
        self.lengths = frames_kept(case, model, noise)
        self.mask = length_mask(self.lengths, noise.shape[1])
        self.states: list[Tensor] = []
        index = case.raw("text_index") if "text_index" in case else np.arange(1, 1 + len(noise))
        texts, start = prompts(case, index), noise * self.mask[:, :, None, None]
        self.latent = model.denoise(start, texts, self.lengths, observe=lambda _, x: self.states.append(x))
        self.motion = model.vae.decode(self.latent)
        self.scheduler = model.diffusion.scheduler("DDIMScheduler")
        self.scheduler.set_timesteps(int(steps))
        self.first = prompts(case, index[:1])


_run = once(Run)


class Single:
    """One clip without masks, and the attention maps of its last conditional pass."""

    def __init__(self, case: Case, model: Salad) -> None:
        self.batch = _run(case, model)
        frames = next(case.raw(n).shape[1] // k for n, k in (("single_latent", 1), ("single_motion", model.unit_length))
                      if n in case)  # fmt: skip
        noise, prompt = case["init_noise"][:1, :frames], self.batch.first
        states = [noise]
        self.latent = model.denoise(noise, prompt, None, observe=lambda _, x: states.append(x))
        self.motion, self.maps = model.vae.decode(self.latent), AttentionMaps()
        last = self.batch.scheduler.timesteps[-1]
        with self.maps.watching(model.denoiser):
            model.denoiser(states[-2], torch.tensor(int(last)), prompt.tokens, prompt.mask)


_single = once(Single)

SAMPLING_ROWS: Table = {
    "timesteps": lambda case, model: _run(case, model).scheduler.timesteps,
    "latent_mask": lambda case, model: _run(case, model).mask,
    "latent_final": lambda case, model: _run(case, model).latent,
    "trajectory": lambda case, model: torch.stack(
        [_run(case, model).states[int(i)] for i in case.raw("trajectory_steps")]
    ),
    "motion": lambda case, model: _run(case, model).motion,
    "motion_denorm": lambda case, model: _run(case, model).motion * model.std + model.mean,
    "single_latent": lambda case, model: _single(case, model).latent,
    "single_motion": lambda case, model: _single(case, model).motion,
    "single_attn_(cross|skel|temp)_last": lambda case, model, kind: _single(case, model).maps[kind],
    "motion_noguidance_authors": lambda case, model: Run(case, model, 1.0).motion,
}


@compares("sampling")
def sampling(case: Case) -> Checks:
    """Guided generation of a batch and of one clip, with the authors' decoder that reads padding."""
    first = case.first("latent_final", "motion")
    model = model_for(case, lambda model: case.off(model, SAMPLING_ROWS, first))
    yield from case.table(model, SAMPLING_ROWS, SAMPLING, 1e-7)
    yield from _gap(case, model, "single_vs_batched_per_frame", SAMPLING)
    double = "single_vs_batched_per_frame_f64"
    if double in case:
        yield from fewest_failures(_gap(case.double(), twin, double, 1e-7) for twin in doubled(model))


def _gap(case: Case, model: Salad, name: str, tolerance: float) -> Checks:
    """The clip alone and the same clip in its batch, both sides over the scale of the motions that are subtracted."""
    if name in case:
        single, batch = _single(case, model).motion, _run(case, model).motion
        gap, scale = (batch[:1, : single.shape[1]] - single)[0].abs().amax(1), 1 + float(batch.abs().max())
        yield compare(name, gap / scale, case.raw(name) / scale, tolerance)


# -- body graphs -------------------------------------------------------------------------------------------------------
@compares("topology", files=())
def topology(folder: Case) -> Checks:
    """Columns, edges, pooled sets and matrices of every skeleton in the folder."""
    bodies = {path.stem: read_json(path) for path in sorted(folder.folder.glob("*.json"))}
    for name, stored in bodies.items():
        yield from _body(name, stored)
    for case in Case.each(folder.folder):
        joints = case.last("enc0_adj") or 0
        body = Topology.of(bodies.get(case.part.removesuffix("_matrices"), {}).get("pose_dim", 12 * joints - 1))
        yield from inside(case.part, case.rows(body, MATRICES, 1e-7))
        yield from case.unread()


def _body(name: str, stored: dict[str, Any]) -> Checks:
    body = Topology.of(int(stored["pose_dim"]))
    sets, layout = stored.get("pool_sets", []), body.layout
    blocks = {"root": layout.root, "ric": layout.positions, "rot": layout.rotations, "vel": layout.velocities}
    blocks["contact"] = layout.contacts
    ours: dict[str, object] = {
        "dataset": name,
        "pose_dim": body.features,
        "joints": body.joints,
        "contact_joints": list(body.contact_joints),
        "columns_of_joint_token": body.columns,
        "block_columns": {key: [block.start, block.stop] for key, block in blocks.items()},
        "stage_edges": [
            [list(edge) for edge in chain_edges(body.graph(i)[0])] for i in range(len(stored.get("stage_edges", [])))
        ],
        "pool_sets": [[[sorted(s), i] for i, s in enumerate(body.graph(stage)[1])] for stage in range(len(sets))],
        "token_names_depth0": list(HALF_LIMBS),
        "token_names_depth1": list(BODY_PARTS),
    }
    ordered = {
        "pool_sets": [[[sorted(members), i] for members, i in stage] for stage in sets],
        "stage_edges": [sorted(stage) for stage in stored.get("stage_edges", [])],
    }
    for key, value in stored.items():
        if key in ours:
            yield exact(f"{name} {key}", ours[key], ordered.get(key, value))


def _level(case: Case, body: Topology, side: str, stage: str, what: str) -> Any:
    """A matrix; the decoder's stages run backwards."""
    depth = 1 + max(int(fit[1]) for fit in case.find(r"(?:enc|dec)(\d+)_\w+"))
    level = body.level(int(stage) if side == "enc" else depth - 1 - int(stage))
    return {"adj": level.adjacency, "pool": level.pool, "unpool": level.unpool}[what]


MATRICES: Table = {r"(enc|dec)(\d+)_(adj|pool|unpool)": _level}
