"""The unlearning fork of SALAD against ours: adapters, its contrastive and erasing losses, the published formulas."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmu.backbones.base import State
from hmu.backbones.salad.authors import denoiser_options, load_authors, split_lora
from hmu.backbones.salad.model import Salad
from hmu.backbones.salad.vae import sample_posterior
from hmu.checkpoints.authors import read_state
from hmu.checkpoints.safe import load_tensors
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError
from hmu.methods import adapters
from hmu.methods.applying import applied
from hmu.methods.edit import AdapterEdit
from hmu.methods.teacher import erase_target, predict_jointly
from hmu.methods.upstream import salad_fork as upstream
from hmu.text.base import TextCondition
from tests import published
from tests.parity.checks import Check, compare, exact
from tests.parity.salad_files import DOUBLE, NETWORK, Arrays, deviation, models, pick, prompts

BETAS = {"linear_betas": "linear", "configured_betas": None}
TARGETS = ("vs_noise", "vs_target", "vs_target_masked")
SIDES = ("retain", "forget")


def _arrays(case: Path, *documents: str) -> tuple[Arrays, list[Check]]:
    strange = sorted(p.name for p in case.iterdir() if p.name not in {"vectors.npz", *documents})
    return Arrays(case / "vectors.npz"), [Check(f"file '{n}' of unknown kind", float("inf"), 0.0) for n in strange]


def _latents(model: Salad, arrays: Arrays) -> Iterator[Check]:
    """Both sides' latents, sampled with the stored noise."""
    with torch.no_grad():
        for side in SIDES:
            mean, logvar = model.vae.encode(arrays.tensor(f"{side}_motion"))
            latent = sample_posterior(mean, logvar, arrays.tensor(f"{side}_vae_eps"))
            yield compare(f"{side}_latent", latent, arrays[f"{side}_latent"], NETWORK)


# -- LoRA ------------------------------------------------------------------------------------------------------------
def unlearn_lora(case: Path) -> Iterator[Check]:
    """Adapters on the authors' checkpoint, the contrastive loss in all its variants, names and trainable shares."""
    arrays, strange = _arrays(case, "lora.json", "manifest_full.json")
    yield from strange
    facts = json.loads((case / "lora.json").read_text(encoding="utf-8"))
    base = case.parent / facts["base_checkpoint"]
    tar = case.parent / facts["lora_checkpoint"] / "model" / "latest.tar"
    model = load_authors(base.parent, base.name, variant="upstream")
    stored = read_state(tar, ("denoiser",), "a SALAD denoiser")
    factors = split_lora(stored)[1]
    yield from _latents(model, arrays)
    yield from _listed(facts, model, tar, stored)
    yield from _adapted(model, factors, arrays)
    yield from _contrast(model, factors, arrays)
    if (case / "manifest_full.json").is_file():
        yield from _full_size(case / "manifest_full.json", base)
    yield from arrays.unread()


def _listed(facts: Mapping[str, Any], model: Salad, tar: Path, stored: Mapping[str, Tensor]) -> Iterator[Check]:
    targets = model.adapter_targets
    yield exact("injected_modules", sorted(targets), sorted(facts["injected_modules"]))
    yield exact("checkpoint_top_level_keys", sorted(load_tensors(tar)), sorted(facts["checkpoint_top_level_keys"]))
    yield exact("checkpoint_keys", sorted(stored), sorted(facts["checkpoint_keys"]))
    ours = {_fork_name(name, targets) for name, _ in model.denoiser.state_dict().items()}
    ours |= {f"{layer}.{leaf}" for layer in targets for leaf in ("lora_a", "lora_b")}
    yield exact("checkpoint_keys, from our names", sorted(ours), sorted(facts["checkpoint_keys"]))
    random = sorted(f"{layer}.{leaf}" for layer in targets for leaf in ("weight", "bias"))
    expected = facts["keys_left_at_random_init_when_lora_flag_is_forgotten"]
    yield exact("keys at random without the flag", random, sorted(expected))


def _fork_name(name: str, targets: list[str]) -> str:
    layer, _, leaf = name.rpartition(".")
    return f"{layer}.original_linear.{leaf}" if layer in set(targets) else name


def _adapted(model: Salad, factors: dict[str, tuple[Tensor, Tensor]], arrays: Arrays) -> Iterator[Check]:
    """Answers without, with, and with wrongly scaled adapters; merged and injected adapters agree."""
    texts = prompts(arrays, arrays["x_text_index"])
    x, time, mask = (arrays.tensor(name) for name in ("x", "t", "len_mask"))
    alpha, rank = float(arrays["alpha"]), int(arrays["rank"])
    edit = AdapterEdit(factors, alpha=alpha)
    yield exact("rank", edit.rank, rank)
    with torch.no_grad():
        plain = model.denoiser(x, time, texts.tokens, texts.mask, mask)
        yield compare("pred_base", plain, arrays["pred_base"], NETWORK)
        for name, scale in (("pred_lora_train_scale", alpha), ("pred_lora_eval_scale", 1.0)):
            with applied(model, [(AdapterEdit(factors, alpha=scale), 1.0)]):
                merged = model.denoiser(x, time, texts.tokens, texts.mask, mask)
            yield compare(name, merged, arrays[name], NETWORK)
        yield exact("reverted", bool(torch.equal(model.denoiser(x, time, texts.tokens, texts.mask, mask), plain)), True)
        double = copy.deepcopy(model).double()
        words = prompts(arrays, arrays["x_text_index"], torch.float64)
        with applied(double, [(edit, 1.0)]):
            exactly = double.denoiser(x.double(), time, words.tokens, words.mask, mask)
        yield compare("pred_lora_train_scale_f64", exactly, arrays["pred_lora_train_scale_f64"], DOUBLE)
        adapted = _injected(model, factors, alpha)
        live = adapted.denoiser(x, time, texts.tokens, texts.mask, mask)
        yield compare("adapters injected by PEFT", live, arrays["pred_lora_train_scale"], NETWORK)
        with applied(model, [(edit, 1.0)]):
            merged = model.denoiser(x, time, texts.tokens, texts.mask, mask)
        bound = max(NETWORK, 10 * float(arrays["merged_max_diff"]))
        yield Check("merged_max_diff", float((live - merged).abs().max()), bound)


def _injected(model: Salad, factors: Mapping[str, tuple[Tensor, Tensor]], alpha: float) -> Salad:
    """A copy of ``model`` with live adapters that hold ``factors``."""
    twin = copy.deepcopy(model)
    rank = next(iter(factors.values()))[0].shape[0]
    trained = adapters.inject(twin, rank, alpha, 0.0)
    with torch.no_grad():
        for name, (down, up) in factors.items():
            trained[f"{name}.lora_A"].copy_(down)
            trained[f"{name}.lora_B"].copy_(up)
    return twin


def _contrast(model: Salad, factors: dict[str, tuple[Tensor, Tensor]], arrays: Arrays) -> Iterator[Check]:
    """``retain - lambda forget`` against noise or the true target, under both schedules, with the stored gradients."""
    twin = _injected(model, factors, float(arrays["alpha"]))
    weight = float(arrays["lambda_forget"])
    layer = adapters.lora_layers(twin.network())["transformer.middle_block.cross_attn.Wv"]
    for target in TARGETS:
        for betas, schedule in BETAS.items():
            name = f"loss_{target}_{betas}"
            if name not in arrays:
                continue
            twin.zero_grad()
            sides = [_side(twin, arrays, side, target, schedule) for side in SIDES]
            terms = upstream.contrast(sides[0], sides[1], weight)
            terms["loss"].backward()
            yield compare(name, terms["loss"].detach(), arrays[name], NETWORK)
            for side in SIDES:
                yield compare(f"{name}_{side}", terms[side], arrays[f"{name}_{side}"], NETWORK)
            for leaf, module in (("lora_a", layer.lora_A), ("lora_b", layer.lora_B)):
                key = f"grad_{name}_{leaf}"
                if key in arrays:
                    yield compare(key, module[adapters.ADAPTER].weight.grad, arrays[key], NETWORK)
            silent = [n for n, p in twin.named_parameters() if p.requires_grad and not _moved(p.grad)]
            yield exact(f"{name}: adapters without gradient", silent, [])


def _moved(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.abs().sum() > 0)


def _side(model: Salad, arrays: Arrays, side: str, target: str, schedule: str | None) -> tuple[Tensor, Tensor]:
    """``(prediction, answer)`` of one side, from its stored latent, noise and timesteps."""
    process = upstream.process_of(model, schedule)
    latent, noise, time = (arrays.tensor(f"{side}_{name}") for name in ("latent", "noise", "t"))
    texts = prompts(arrays, arrays[f"{side}_text_index"])
    lengths = model.latent_lengths(arrays.tensor(f"{side}_m_lens"))
    if target == "vs_target_masked":
        original, model.diffusion = model.diffusion, process
        try:
            state = model.noised(latent, noise, time, lengths)
        finally:
            model.diffusion = original
    else:
        state = upstream.noised(process, latent, noise, time)
    return model.predict(state, texts), noise if target == "vs_noise" else state.target


def _full_size(path: Path, base: Path) -> Iterator[Check]:
    """Names, shapes and trainable flags at the published size, and the table of trainable shares."""
    listed = json.loads(path.read_text(encoding="utf-8"))
    expected = listed["state_dict"]
    shapes = {n.replace(".original_linear.", "."): torch.empty(v["shape"], device="meta") for n, v in expected.items()}
    kept = {name: value for name, value in shapes.items() if not name.endswith((".lora_a", ".lora_b"))}
    options = denoiser_options(kept, {"n_heads": 1}, path)
    latent, width = kept["input_process.layers.0.weight"].shape[1], kept["word_emb.weight"].shape[1]
    model = published.backbone("salad", text=None, vae={"latent_dim": latent}, denoiser=options, text_width=width)
    targets = model.adapter_targets
    yield exact("manifest injected_modules", sorted(targets), sorted(listed["injected_modules"]))
    total = sum(value.numel() for value in kept.values() if value is not kept.get("pos_emb.pe"))
    yield exact("manifest parameters", sum(p.numel() for p in model.denoiser.parameters()), total)
    if "denoiser_parameters_without_clip" in listed:
        yield exact("manifest parameters without CLIP", total, listed["denoiser_parameters_without_clip"])
    for rank, share in listed["trainable_fraction"].items():
        trained, whole = adapters.count(model, int(rank))
        with_clip = whole + int(listed["clip_parameters"])
        ours = {
            "trainable": trained,
            "total_with_clip": with_clip,
            "percent_as_the_fork_prints_it": 100 * trained / with_clip,
            "total_without_clip": whole,
            "percent_without_clip": 100 * trained / whole,
        }
        for key, value in share.items():
            yield compare(f"rank {rank} {key}", ours[key], value, DOUBLE)
    first = next(name for name in expected if name.endswith(".lora_a"))
    trained_names = adapters.inject(model, expected[first]["shape"][0], 1.0, 0.0)
    found: dict[str, dict[str, Any]] = {}
    plain = {n.replace(".base_layer.", "."): p for n, p in model.denoiser.state_dict(keep_vars=True).items()}
    for name, value in plain.items():
        if ".lora_" not in name:
            found[_fork_name(name, targets)] = {"shape": list(value.shape), "requires_grad": value.requires_grad}
    for name, parameter in trained_names.items():
        fork = name.replace(".lora_A", ".lora_a").replace(".lora_B", ".lora_b")
        found[fork] = {"shape": list(parameter.shape), "requires_grad": parameter.requires_grad}
    yield exact("manifest names", sorted(found), sorted(expected))
    for key in ("shape", "requires_grad"):
        ours_by_name = {name: value[key] for name, value in found.items()}
        yield exact(f"manifest {key}", ours_by_name, {name: value[key] for name, value in expected.items()})


# -- ESD -------------------------------------------------------------------------------------------------------------
def unlearn_esd(case: Path) -> Iterator[Check]:
    """The fork's erasing loss as it runs, the published formula with every stored eta, and an early commit's loss."""
    arrays, strange = _arrays(case)
    yield from strange
    texts = {side: prompts(arrays, arrays[f"{side}_text_index"]) for side in SIDES}
    null = prompts(arrays, np.zeros_like(arrays["forget_text_index"]))
    lengths = {side: arrays.tensor(f"{side}_m_lens") for side in SIDES}
    shape = arrays["forget_latent"].shape[-1], arrays["text_emb"].shape[-1]

    def fits(model: Salad) -> bool:
        return (model.vae.options.latent_dim, model.text_width) == shape

    with torch.no_grad():
        x, time = arrays.tensor("x_t"), arrays.tensor("forget_t")
        blank = State(x, time, x, torch.ones(x.shape[:2], dtype=torch.bool))

        def asked(model: Salad) -> Tensor:
            return upstream.masked_output(model, blank, lengths["forget"], texts["forget"])

        base = pick(case, models(case), fits, lambda m: deviation(asked(m), arrays["pred_frozen_concept"]))
        student = _student(case, fits, lambda m: deviation(asked(m), arrays["pred_trainable_concept"]))
        yield from _latents(base, arrays)
        stored = {s: [arrays.tensor(f"{s}_{name}") for name in ("latent", "noise", "t")] for s in SIDES}
        noisy, kept = (upstream.noised(base.diffusion, *stored[s]) for s in ("forget", "retain"))
        yield compare("x_t", noisy.inputs, arrays["x_t"], NETWORK)
        mine = upstream.masked_output(student, noisy, lengths["forget"], texts["forget"])
        concept = upstream.masked_output(base, noisy, lengths["forget"], texts["forget"])
        empty = upstream.masked_output(base, noisy, lengths["forget"], null)
        held = upstream.masked_output(student, kept, lengths["retain"], texts["retain"])
        named = {"trainable_concept": mine, "frozen_concept": concept, "frozen_null": empty}
        for name, value in named.items():
            yield compare(f"pred_{name}", value, arrays[f"pred_{name}"], NETWORK)
        yield compare("preserve_pred", held, arrays["preserve_pred"], NETWORK)
        weight = float(arrays["preservation_weight"])
        terms = upstream.neutralise(mine, empty, (held, stored["retain"][1]), weight)
        for ours, theirs in (("loss", "total"), ("erase", "erase"), ("preserve", "preserve")):
            yield compare(f"head_loss_{theirs}", terms[ours], arrays[f"head_loss_{theirs}"], NETWORK)
        true = upstream.square(held, kept.target)
        yield compare("preserve_loss_vs_target", true, arrays["preserve_loss_vs_target"], NETWORK)
        yield from _formulas(base, student, arrays, noisy, (mine, concept, empty), (texts["forget"], null))
        yield from _early_commit(student, arrays, lengths["forget"])
    yield from arrays.unread()


def _student(case: Path, fits: Callable[[Salad], bool], error: Callable[[Salad], float]) -> Salad:
    """The trained copy: among the fork's edited checkpoints beside the case, the one that fits its answers best."""
    found = []
    for path in sorted((case.parent / "checkpoints").glob("*/*/model/latest.tar")):
        if (path.parent / "net_best_fid.tar").is_file():
            continue
        try:
            model = load_authors(path.parents[2], path.parents[1].name, denoiser_file=path.name, variant="upstream")
        except CheckpointError:
            continue
        if fits(model):
            found.append(model)
    if not found:
        raise CheckpointError(f"{case.parent / 'checkpoints'}: no edited denoiser (model/latest.tar) fits {case.name}")
    return min(found, key=error)


def _formulas(
    base: Salad,
    student: Salad,
    arrays: Arrays,
    noisy: State,
    outputs: tuple[Tensor, Tensor, Tensor],
    texts: tuple[TextCondition, TextCondition],
) -> Iterator[Check]:
    """The published formula: over everything, with padding zeroed as our backbone does it, and in noise space."""
    mine, concept, empty = outputs
    valid = length_mask(base.latent_lengths(arrays.tensor("forget_m_lens")), noisy.inputs.shape[1])
    masked = State(noisy.inputs, noisy.time, noisy.target, valid)
    null, asked = predict_jointly(base, [(masked, texts[1]), (masked, texts[0])])
    answer = student.predict(masked, texts[0])
    noise = [base.diffusion.to_noise(out, noisy.inputs, noisy.time) for out in outputs]
    ours: dict[str, list[float]] = {"formula_loss": [], "formula_loss_masked_zeroed": [], "formula_loss_eps_space": []}
    for eta in arrays["etas"].tolist():
        ours["formula_loss"].append(float(upstream.square(mine, erase_target(empty, concept, empty, eta))))
        target = erase_target(null, asked, null, eta)
        ours["formula_loss_masked_zeroed"].append(float(student.distance(answer, target, masked).mean()))
        in_noise = erase_target(noise[2], noise[1], noise[2], eta)
        ours["formula_loss_eps_space"].append(float(upstream.square(noise[0], in_noise)))
    for name, values in ours.items():
        if name in arrays:
            yield compare(name, values, arrays[name], NETWORK)


def _early_commit(student: Salad, arrays: Arrays, lengths: Tensor) -> Iterator[Check]:
    """Commit 316a981: pure noise of one joint token, one prompt for all, both sides from the model being trained."""
    if "old_noise" not in arrays:
        return
    noise, time = arrays.tensor("old_noise"), arrays.tensor("forget_t")
    state = State(noise, time, noise, length_mask(student.latent_lengths(lengths), noise.shape[1]))
    index = int(arrays["old_concept_index"])
    rows = [prompts(arrays, np.full(len(noise), row)) for row in (index, 0)]
    concept, null = (student.predict(state, row) for row in rows)
    losses = [float(upstream.self_guided(concept, null, eta)) for eta in arrays["etas"].tolist()]
    yield compare("old_loss_316a981", losses, arrays["old_loss_316a981"], NETWORK)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"unlearn_lora": unlearn_lora, "unlearn_esd": unlearn_esd}
