"""SALAD's schedule, guided sampling and body graphs against the authors' code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
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
from tests.parity.case import Case, Table, read_arrays, read_json, strange
from tests.parity.checks import Check, deviation, exact
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
    "(.+)_(betas|alphas_cumprod|final_alpha_cumprod|init_noise_sigma)": lambda case, _, name, what: (
        getattr(_scheduler(case, name), what), case.raw(f"{name}_{what}"), 1e-7
    ),
    r"(.+)_timesteps_(\d+)": _timesteps,
    "(.+)_(add_noise|velocity)": _process,
    "(.+?)_step_(v_prediction|epsilon|sample)_(prev|x0)": _steps,
}  # fmt: skip


def diffusion(folder: Path) -> Iterator[Check]:
    """Tables, noising, velocities, time steps and single sampler steps of every stored schedule."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder)
    yield from case.rows(None, TABLES, 1e-6)
    yield from case.double().rows(None, TABLES, 1e-9)
    yield from case.unread()


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
        self.seen: list[Tensor] = []
        index = case.raw("text_index") if "text_index" in case else np.arange(1, 1 + len(noise))
        texts, start = prompts(case, index), noise * self.mask[:, :, None, None]
        self.latent = model.denoise(start, texts, self.lengths, observe=lambda _, x: self.seen.append(x))
        self.motion = model.vae.decode(self.latent)
        self.scheduler = model.diffusion.scheduler("DDIMScheduler")
        self.scheduler.set_timesteps(int(steps))
        self.first = prompts(case, index[:1])

    @classmethod
    def of(cls, case: Case, model: Salad) -> Run:
        """The run of a model, made once."""
        return case.once("run", lambda: cls(case, model))


class Single:
    """One clip without masks, and the attention maps of its last conditional pass."""

    def __init__(self, case: Case, model: Salad) -> None:
        self.batch = Run.of(case, model)
        frames = next(case.raw(n).shape[1] // k for n, k in (("single_latent", 1), ("single_motion", model.unit_length))
                      if n in case)  # fmt: skip
        noise, prompt = case["init_noise"][:1, :frames], self.batch.first
        seen = [noise]
        self.latent = model.denoise(noise, prompt, None, observe=lambda _, x: seen.append(x))
        self.motion, self.maps = model.vae.decode(self.latent), AttentionMaps()
        last = self.batch.scheduler.timesteps[-1]
        with self.maps.watching(model.denoiser):
            model.denoiser(seen[-2], torch.tensor(int(last)), prompt.tokens, prompt.mask)

    @classmethod
    def of(cls, case: Case, model: Salad) -> Single:
        """The run of a model, made once."""
        return case.once("single", lambda: cls(case, model))

    def gap(self) -> Tensor:
        """Largest difference per frame ``(frames,)`` between the clip alone and the same clip in its batch."""
        return (self.batch.motion[:1, : self.motion.shape[1]] - self.motion)[0].abs().amax(1)


def _gap(case: Case, model: Salad) -> tuple[Any, Any, float]:
    """Both sides over the same scale, that of the motions which are subtracted."""
    single, stored = Single.of(case, model), case.raw("single_vs_batched_per_frame")
    scale = 1 + float(single.batch.motion.abs().max())
    return single.gap() / scale, stored / scale, SAMPLING


SAMPLING_ROWS: Table = {
    "timesteps": lambda case, model: Run.of(case, model).scheduler.timesteps,
    "latent_mask": lambda case, model: Run.of(case, model).mask,
    "latent_final": lambda case, model: Run.of(case, model).latent,
    "trajectory": lambda case, model: torch.stack(
        [Run.of(case, model).seen[int(i)] for i in case.raw("trajectory_steps")]
    ),
    "motion": lambda case, model: Run.of(case, model).motion,
    "motion_denorm": lambda case, model: Run.of(case, model).motion * model.std + model.mean,
    "single_latent": lambda case, model: Single.of(case, model).latent,
    "single_motion": lambda case, model: Single.of(case, model).motion,
    "single_attn_(cross|skel|temp)_last": lambda case, model, kind: Single.of(case, model).maps[kind],
    "single_vs_batched_per_frame": _gap,
    "motion_noguidance_authors": lambda case, model: Run(case, model, 1.0).motion,
}


def sampling(folder: Path) -> Iterator[Check]:
    """Guided generation of a batch and of one clip, with the authors' decoder that reads padding."""
    yield from strange(folder, ".npz", ".json")
    case = Case.read(folder)

    def error(model: Salad) -> float:
        run = Run(case, model)
        name = "latent_final" if "latent_final" in case else "motion"
        return deviation(run.latent if name == "latent_final" else run.motion, case.raw(name))

    with torch.no_grad():
        model = model_for(case, error)
        yield from case.table(model, SAMPLING_ROWS, SAMPLING, 1e-7)
    yield from case.unread()


# -- body graphs -------------------------------------------------------------------------------------------------------
def topology(folder: Path) -> Iterator[Check]:
    """Columns, edges, pooled sets and matrices of every skeleton in the folder."""
    yield from strange(folder, ".json", ".npz")
    bodies = {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}
    for name, stored in bodies.items():
        yield from _body(name, stored)
    for path in sorted(folder.glob("*.npz")):
        case = Case(folder, read_arrays(path))
        joints = case.last("enc0_adj") or 0
        body = Topology.of(bodies.get(path.stem.removesuffix("_matrices"), {}).get("pose_dim", 12 * joints - 1))
        yield from (check.inside(path.stem) for check in case.rows(body, MATRICES, 1e-7))
        yield from case.unread()


def _body(name: str, stored: dict[str, Any]) -> Iterator[Check]:
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
    stored = dict(stored)
    stored["pool_sets"] = [[[sorted(members), i] for members, i in stage] for stage in sets]
    stored["stage_edges"] = [sorted(stage) for stage in stored.get("stage_edges", [])]
    for key, value in stored.items():
        if key in ours:
            yield exact(f"{name} {key}", ours[key], value)


def _level(case: Case, body: Topology, side: str, stage: str, what: str) -> Any:
    """A matrix; the decoder's stages run backwards."""
    depth = len(case.find(r"enc\d+_adj"))
    level = body.level(int(stage) if side == "enc" else depth - 1 - int(stage))
    return {"adj": level.adjacency, "pool": level.pool, "unpool": level.unpool}[what]


MATRICES: Table = {r"(enc|dec)(\d+)_(adj|pool|unpool)": _level}

KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "diffusion": diffusion,
    "sampling": sampling,
    "topology": topology,
}
