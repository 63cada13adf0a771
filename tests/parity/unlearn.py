"""The unlearning fork of SALAD against ours: adapters, its contrastive and erasing losses, the published formulas."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hmu.backbones.salad.authors import denoiser_options, split_lora
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.vae import sample_posterior
from hmu.checkpoints.authors import Part, read_state
from hmu.checkpoints.safe import load_tensors
from hmu.errors import CheckpointError
from hmu.methods import adapters
from hmu.methods.applying import applied
from hmu.methods.edit import AdapterEdit
from hmu.methods.upstream import salad_fork as upstream
from tests.parity.case import DOUBLE, Case, Table, checkpoints, read_json
from tests.parity.checks import Checks, compare, exact, nearest, unchecked
from tests.parity.fills import Fill, doubled, filled, fills
from tests.parity.kinds import compares
from tests.parity.manifests import MANIFEST, manifest
from tests.parity.salad_models import NETWORK, answer, fits, full_size, prompts, stored_models
from tests.published import backbone

SIDES, LEAVES = ("retain", "forget"), ("weight", "bias")
MERGED = 1e-4  # float32 of merged against live adapters: two orders of summation, through all layers
LAYER = "transformer.middle_block.cross_attn.Wv"  # whose gradients are stored
LOSS = r"loss_(vs_noise|vs_target|vs_target_masked)_(linear|configured)_betas"
Factors = dict[str, tuple[Tensor, Tensor]]


def latent(case: Case, model: Salad, side: str) -> Tensor:
    """One side's latent, sampled with the stored noise."""
    return sample_posterior(*model.vae.encode(case[f"{side}_motion"]), case[f"{side}_vae_eps"])


LATENT_ROWS: Table = {"(retain|forget)_latent": latent}


# -- LoRA --------------------------------------------------------------------------------------------------------------
class Adapted(NamedTuple):
    """A model and the fork's adapters for it; of filled ones the unrounded values, and no file."""

    model: Salad
    factors: Factors
    file: Path | None = None
    precise: Factors | None = None

    @property
    def rank(self) -> int:
        """Of its adapters."""
        return len(next(iter(self.factors.values()))[0])

    def alpha(self, case: Case) -> float:
        """What a case says, else the rank."""
        return case.number("alpha", self.rank)

    def answer(self, case: Case, alpha: float | None) -> Tensor:
        """The network's answer with the adapters at ``alpha``; None = without them."""
        edits = [] if alpha is None else [(AdapterEdit(self.factors, alpha=alpha), 1.0)]
        with applied(self.model, edits):
            return answer(case, self.model)

    def injected(self, alpha: float) -> Salad:
        """A copy of the model with live adapters."""
        twin = copy.deepcopy(self.model)
        trained = adapters.inject(twin, self.rank, alpha, 0.0)
        with torch.no_grad():
            for name, (down, up) in self.factors.items():
                trained[f"{name}.lora_A"].copy_(down)
                trained[f"{name}.lora_B"].copy_(up)
        return twin


def _fork_name(name: str, targets: list[str]) -> str:
    layer, _, leaf = name.rpartition(".")
    return f"{layer}.original_linear.{leaf}" if layer in set(targets) else name


def _fork_state(targets: list[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {_fork_name(name, targets): value for name, value in state.items()}


def _plain_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace(".original_linear.", "."): value for name, value in state.items()}


def _targets(model: Salad) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of the layers that are adapted."""
    weights = {name: model.denoiser.get_parameter(f"{name}.weight") for name in model.adapter_targets}
    return {name: (weight.shape[0], weight.shape[1]) for name, weight in weights.items()}


def filled_adapters(model: Salad, rank: int, fill: Fill, inside: bool) -> Adapted:
    """A model and adapters filled by rule, the base under the fork's names (``inside``) or under its own."""
    targets = model.adapter_targets if inside else []
    filled(model.vae, fill.under("vae." if fill.before else ""))
    filled(model.denoiser, fill, partial(_fork_state, targets), _plain_state)
    precise = {
        name: (
            torch.from_numpy(fill.values(f"{name}.lora_a", (rank, inputs))),
            torch.from_numpy(fill.values(f"{name}.lora_b", (outputs, rank))),
        )
        for name, (outputs, inputs) in _targets(model).items()
    }
    return Adapted(model.eval(), {n: (a.float(), b.float()) for n, (a, b) in precise.items()}, precise=precise)


def _unstored_adapters(case: Case) -> Iterator[Adapted]:
    """The published size, filled in every way that a case may mean."""
    rank = int(case.number("rank", 16))
    for before, inside in product(("", "denoiser."), (True, False)):
        for fill in fills(case.folder.name, before=(before,), moved=(True, False)):
            yield filled_adapters(full_size(case), rank, fill, inside)


def _stored_adapters(case: Case) -> Iterator[Adapted]:
    """The base and every file of adapters beside the case that fits it; those that ``lora.json`` names, if it does."""
    tars = [path for path in checkpoints(case.folder, "*.tar") if path.parent.name == "model"]
    if "lora_checkpoint" in case.facts:
        tars = [path for path in tars if path.parents[1].name == Path(case.facts["lora_checkpoint"]).name]
    for tar in tars:
        try:
            factors = split_lora(read_state(tar, ("denoiser",), "a SALAD denoiser"))[1]
        except CheckpointError:
            continue
        for model in stored_models(case.folder) if factors else ():
            if fits(model, case) and _targets(model) == {n: (len(b), a.shape[1]) for n, (a, b) in factors.items()}:
                yield Adapted(model, factors, tar)


LORA_ROWS: Table = {
    "rank": lambda case, adapted: adapted.rank,
    "pred_base": lambda case, adapted: adapted.answer(case, None),
    "pred_lora_train_scale": lambda case, adapted: adapted.answer(case, adapted.alpha(case)),
    "pred_lora_eval_scale": lambda case, adapted: adapted.answer(case, 1.0),
}


@compares("unlearn_lora")
def unlearn_lora(case: Case) -> Checks:
    """Adapters on the authors' checkpoint, the contrastive loss in all its variants, names and trainable shares."""
    names = [name for name in ("pred_base", "pred_lora_train_scale") if name in case]
    candidates = list(_stored_adapters(case)) or _unstored_adapters(case)
    adapted = nearest(
        candidates, lambda a: sum(case.off(a, LORA_ROWS, name) for name in names), "SALAD model with adapters"
    )
    yield from case.rows(adapted.model, LATENT_ROWS, NETWORK)
    yield from _listed(case, adapted)
    yield from _adapted(case, adapted)
    yield from _contrast(case, adapted)
    if (path := case.folder / MANIFEST).is_file():
        yield from _full_size(path)


def _listed(case: Case, adapted: Adapted) -> Checks:
    """The names of the fork's file."""
    facts, targets = case.facts, adapted.model.adapter_targets
    if adapted.file is None or "checkpoint_keys" not in facts:
        if adapted.file is not None or "checkpoint_keys" in facts:
            yield unchecked("names of the file", "no list of them, or no file")
        return
    stored = read_state(adapted.file, ("denoiser",), "a SALAD denoiser")
    ours = {_fork_name(name, targets) for name in adapted.model.denoiser.state_dict()}
    ours |= {f"{layer}.{leaf}" for layer in targets for leaf in ("lora_a", "lora_b")}
    lists: dict[str, Any] = {
        "injected_modules": targets,
        "checkpoint_top_level_keys": load_tensors(adapted.file),
        "checkpoint_keys": stored,
    }
    lists["keys_left_at_random_init_when_lora_flag_is_forgotten"] = list(map(".".join, product(targets, LEAVES)))
    for key, names in lists.items():
        if key in facts:
            yield exact(key, sorted(names), sorted(facts[key]))
    yield exact("checkpoint_keys, from our names", sorted(ours), sorted(facts["checkpoint_keys"]))


def _adapted(case: Case, adapted: Adapted) -> Checks:
    """Answers without, with, and with wrongly scaled adapters; merged and injected adapters agree."""

    def twins(adapted: Adapted) -> Iterator[Adapted]:
        for model, factors in product(doubled(adapted.model), (adapted.precise, adapted.factors)):
            if factors is not None:
                yield Adapted(model, factors)

    yield from case.table(adapted, LORA_ROWS, NETWORK, twins=twins)
    plain, alpha = adapted.answer(case, None), adapted.alpha(case)
    merged = adapted.answer(case, alpha)
    yield exact("reverted", bool(torch.equal(adapted.answer(case, None), plain)), True)
    live = answer(case, adapted.injected(alpha))
    if "pred_lora_train_scale" in case:
        yield compare("adapters injected by PEFT", live, case.raw("pred_lora_train_scale"), NETWORK)
    yield compare("merged_max_diff", live, merged, max(MERGED, 10 * case.number("merged_max_diff", 0)))


def _contrast(case: Case, adapted: Adapted) -> Checks:
    """``retain - lambda forget`` against noise or the true target, under both schedules, with the stored gradients."""
    twin = adapted.injected(adapted.alpha(case))
    for fit in case.find(LOSS):
        yield from case.given(loss(case, twin, fit), NETWORK)
        silent = [n for n, p in twin.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        yield exact(f"{fit[0]}: adapters without gradient", silent, [])


@torch.enable_grad()
def loss(case: Case, twin: Salad, name: re.Match[str]) -> dict[str, Any]:
    """One loss, its two sides, and the gradients of one adapter."""
    layer, betas = adapters.lora_layers(twin.network())[LAYER], None if name[2] == "configured" else name[2]
    twin.zero_grad()
    sides = [_side(case, twin, side, name[1], betas) for side in SIDES]
    terms = upstream.contrast(sides[0], sides[1], case.number("lambda_forget", 1.0))
    terms["loss"].backward()
    rows: dict[str, Any] = {name[0]: terms["loss"]} | {f"{name[0]}_{side}": terms[side] for side in SIDES}
    for leaf, module in (("a", layer.lora_A), ("b", layer.lora_B)):
        rows[f"grad_{name[0]}_lora_{leaf}"] = module[adapters.ADAPTER].weight.grad  # type: ignore[operator, index]
    return rows


def _side(case: Case, model: Salad, side: str, target: str, schedule: Any) -> tuple[Tensor, Tensor]:
    """``(prediction, target)`` of one side, from its stored latent, noise and timesteps."""
    process = model.diffusion
    if schedule is not None:
        process = type(process)(replace(process.options, beta_schedule=schedule))
    latent, noise, time = (case[f"{side}_{name}"] for name in ("latent", "noise", "t"))
    texts = prompts(case, case.raw(f"{side}_text_index"))
    if target == "vs_target_masked":
        original, model.diffusion = model.diffusion, process
        try:
            lengths = model.latent_lengths(case[f"{side}_m_lens"])
            state = model.noised(latent, noise, time, lengths)
        finally:
            model.diffusion = original
    else:
        state = upstream.noised(process, latent, noise, time)
    return model.predict(state, texts), noise if target == "vs_noise" else state.target


def _full_size(path: Path) -> Checks:
    """Names, shapes and trainable flags at the published size, and the table of trainable shares."""
    listed = read_json(path)
    shapes = {n.replace(".original_linear.", "."): torch.empty(v["shape"], device="meta")
              for n, v in listed["state_dict"].items()}  # fmt: skip
    base = {name: value for name, value in shapes.items() if not name.endswith((".lora_a", ".lora_b"))}
    options = denoiser_options(Part({"n_heads": 1}, base, path, "SALAD denoiser"))
    latent, width = base["input_process.layers.0.weight"].shape[1], base["word_emb.weight"].shape[1]
    model = backbone("salad", text=None, vae={"latent_dim": latent}, denoiser=options, text_width=width)
    targets = model.adapter_targets
    yield exact("manifest injected_modules", sorted(targets), sorted(listed["injected_modules"]))
    total = sum(value.numel() for name, value in base.items() if name != "pos_emb.pe")
    recorded = listed.get("denoiser_parameters_without_clip", total)
    ours = sum(p.numel() for p in model.denoiser.parameters())
    yield exact("manifest parameters", [ours, total], [recorded, recorded])
    for rank, share in listed["trainable_fraction"].items():
        trained, whole = adapters.count(model, int(rank))
        with_clip = whole + int(listed["clip_parameters"])
        shares = {
            "trainable": trained,
            "total_with_clip": with_clip,
            "percent_as_the_fork_prints_it": 100 * trained / with_clip,
            "total_without_clip": whole,
            "percent_without_clip": 100 * trained / whole,
        }
        for key, value in share.items():
            yield compare(f"rank {rank} {key}", shares[key], value, DOUBLE)
    rank = next(value.shape[0] for name, value in shapes.items() if name.endswith(".lora_a"))
    trained_names = adapters.inject(model, rank, 1.0, 0.0)
    state = {n.replace(".base_layer.", "."): p for n, p in model.denoiser.state_dict(keep_vars=True).items()}
    state = {_fork_name(name, targets): value for name, value in state.items() if ".lora_" not in name}
    state |= {n.replace(".lora_A", ".lora_a").replace(".lora_B", ".lora_b"): p for n, p in trained_names.items()}
    yield from manifest(path, state)
    trainable = {n: v["requires_grad"] for n, v in listed["state_dict"].items()}
    yield exact("manifest requires_grad", {n: v.requires_grad for n, v in state.items()}, trainable)
