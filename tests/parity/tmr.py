"""Parity of TMR: networks, losses, one optimiser step, the whole retrieval, and the published widths (``tmr``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.checkpoints.safe import load_tensors
from hmu.data.batch import length_mask
from hmu.evaluators.tmr import TMREvaluator
from hmu.evaluators.tmr.authors import load_parts
from hmu.evaluators.tmr.evaluator import PUBLISHED
from hmu.evaluators.tmr.networks import positions
from hmu.evaluators.tmr.objectives import contrastive, false_negatives, gaussian_kl, sample_latent
from hmu.evaluators.tmr.settings import PARTS, authors_objective, authors_settings
from hmu.text.base import TextCondition
from tests.parity.case import Case, Table, once, read_json
from tests.parity.checks import Checks, compare, exact, unchecked
from tests.parity.guo import F32, nearest_file
from tests.parity.kinds import compares
from tests.parity.manifests import MANIFEST, shape_of
from tests.parity.tmr_e2e import end_to_end, load

STEP = 1e-6


@compares("tmr", known=(".npz", ".json", "run_dir", "datasets", "stats"))
def tmr(case: Case) -> Checks:
    """Everything in the case: files, modules, losses, gradients, one step, the whole retrieval, the manifest."""
    run = nearest_file(case.folder, "config.json").parent
    evaluator = load(run)
    yield from _files(run)
    yield from case.table(evaluator, MODULE_ROWS, F32)
    yield from case.table(evaluator, LOSS_ROWS, F32)
    yield from case.rows(None, NCE_ROWS, F32)
    yield from _training_step(evaluator, case, float(read_json(run / "config.json")["model"].get("lr", 1e-4)))
    if (case.folder / "end_to_end.json").is_file():
        yield from end_to_end(case.folder)
    else:
        yield unchecked("end to end", "no end_to_end.json")
    if (path := case.folder / MANIFEST).is_file():
        yield from _manifest(read_json(path))


def _files(run: Path) -> Checks:
    """The Lightning checkpoint has the names of the extracted weights (their values were changed afterwards)."""
    if (run / "last_weights").is_dir() and (run / "logs" / "checkpoints" / "last.ckpt").is_file():
        stored = load_tensors(run / "logs" / "checkpoints" / "last.ckpt")["state_dict"]
        ours = {f"{p}.{n}": tuple(v.shape) for p, state in load_parts(run).items() for n, v in state.items()}
        yield exact("names of last.ckpt", ours, {name: tuple(value.shape) for name, value in stored.items()})


# -- modules -----------------------------------------------------------------------------------------------------------
def mask_of(case: Case, kind: str) -> Tensor:
    """True at real entries of ``motion`` or ``text``: from the stored mask, else the lengths, else everywhere."""
    shape = case[kind].shape[:2]
    if (mask := case.get(f"{kind}_mask")) is not None:
        return mask
    lengths = case.get(f"{kind}_len", f"{kind}_lens", f"{kind}_lengths")
    return torch.ones(shape, dtype=torch.bool) if lengths is None else length_mask(lengths, shape[1])


@once
def encoded(case: Case, evaluator: TMREvaluator, kind: str) -> Tensor:
    """Mean and log-variance tokens ``(batch, 2, width)`` of the stored motions or texts."""
    encoder = evaluator.motion_encoder if kind == "motion" else evaluator.text_encoder
    return encoder(case[kind], mask_of(case, kind))


def decoded(case: Case, evaluator: TMREvaluator, second: str = "") -> Tensor:
    """Motions of the stored latents, at the motions' lengths or the second ones."""
    mask = mask_of(case, "motion")
    if second:
        lengths = case["decode_lengths2"]
        mask = length_mask(lengths, int(lengths.max()))
    return evaluator.motion_decoder(case["decode_z"], mask)


def _sampled(case: Case, evaluator: TMREvaluator, factor: str | None) -> Tensor:
    order = case.raw("motion_mu_logvar_order") if "motion_mu_logvar_order" in case else np.arange(2)
    mean, logvar = (encoded(case, evaluator, "motion")[:, int(place)] for place in order)
    return sample_latent(mean, logvar, case["motion_eps"] * float((factor or "1").replace("p", ".")))


def similarity(case: Case, evaluator: TMREvaluator) -> Tensor:
    """Cosines of text and motion latents ``(texts, motions)``."""
    text, motion = (F.normalize(encoded(case, evaluator, kind)[:, 0], dim=-1) for kind in ("text", "motion"))
    return text @ motion.mT


def _stored_latents(case: Case, kind: str) -> tuple[Tensor, Tensor]:
    if kind == "ref":
        return torch.zeros(()), torch.zeros(())
    stored = case.double()[f"{kind}_enc_f64" if f"{kind}_enc_f64" in case else f"{kind}_enc"]
    return stored[:, 0], stored[:, 1]


def _kl(case: Case, _: object, first: str, second: str) -> Tensor:
    pairs = [_stored_latents(case, kind) for kind in (first, second)]
    like = next(mean for mean, _ in pairs if mean.dim())
    (a, b), (c, d) = ((m.expand_as(like), v.expand_as(like)) for m, v in pairs)
    return gaussian_kl(a, b, c, d)


MODULE_ROWS: Table = {
    "(motion|text)_enc": encoded,
    "motion_projected": lambda case, evaluator: evaluator.motion_encoder.projection(case["motion"])[0],
    "decode_out(2?)": decoded,
    "pe": (lambda case, _: positions(*next(case.raw(fit[0]).shape for fit in case.find("pe_.*"))), 1e-6),
    r"motion_sampled(?:_fact_([\dp]+))?": _sampled,
    "motion_mu_logvar_order": lambda case, _: None,
    "(text|motion)_len": lambda case, _, kind: mask_of(case, kind).sum(1),
    "sim_matrix": similarity,
    "score_matrix": lambda case, evaluator: similarity(case, evaluator) / 2 + 0.5,
    "score_single_pair": lambda case, evaluator: similarity(case, evaluator)[0, 0] / 2 + 0.5,
    "loss_(text|motion)_latent": lambda case, _, kind: sample_latent(
        *_stored_latents(case, kind), case[f"loss_{kind}_eps"].double()
    ),
    "kl_(text|motion|ref)_(text|motion|ref)": _kl,
}  # fmt: skip


# -- losses ------------------------------------------------------------------------------------------------------------
@once
def _terms(case: Case, evaluator: TMREvaluator, sampled: bool) -> dict[str, Tensor]:
    condition = TextCondition(case["text"], mask_of(case, "text"))
    motion = evaluator.motion_encoder(case["motion"], mask_of(case, "motion"))
    latents = evaluator.encode_text(condition), (motion[:, 0], motion[:, 1])
    noise = (case["loss_text_eps"], case["loss_motion_eps"]) if sampled else None
    return evaluator.joint_terms(case["motion"], mask_of(case, "motion"), latents, noise, case["sent_emb"])


LOSS_ROWS: Table = {
    "loss_(mean_|)(recons|kl|latent|contrastive|loss)": lambda case, evaluator, mean, name: _terms(
        case, evaluator, not mean
    ).get(name)
}


def _nce(case: Case, _: object, temperature: str, rule: str) -> Tensor:
    sentences = case["nce_sent"]
    if rule == "nosent":
        filtered = None
    elif rule == "allfiltered":
        filtered = false_negatives(F.normalize(torch.ones_like(sentences), dim=-1), 0.5)
    else:
        threshold = rule.removeprefix("th")
        filtered = false_negatives(sentences, None if threshold == "None" else float(threshold))
    return contrastive(case["nce_x"], case["nce_y"], float(temperature), filtered)


NCE_ROWS: Table = {
    r"nce_t([\d.]+)_(\w[\w.]*)": _nce,
    r"nce_filtered_mask_th([\d.]+)": lambda case, _, threshold: false_negatives(case["nce_sent"], float(threshold)),
}


@torch.enable_grad()
def _training_step(evaluator: TMREvaluator, case: Case, lr: float) -> Checks:
    """Gradients of the loss on the means without dropout, then one AdamW step."""
    evaluator.zero_grad()
    parameters = dict(evaluator.named_parameters())
    graph = case.under("")  # a view that remembers no terms without gradients
    _terms(graph, evaluator, False)["loss"].backward()  # type: ignore[no-untyped-call]
    norms = torch.stack([p.grad.norm() for p in parameters.values() if p.grad is not None])
    yield from case.rows(None, {"grad/(.+)": lambda case, _, name: parameters[name].grad}, F32)
    yield from case.given({"grad_norm_total": norms.norm()}, F32)
    torch.optim.AdamW(evaluator.stage_parameters("joint"), lr=lr).step()
    for fit in case.find("after_step/(.+)"):
        # the first step of Adam is lr * sign(gradient): where a gradient is rounding noise, so is its sign
        gradient, stored = parameters[fit[1]].grad, case.raw(fit[0])
        ours = parameters[fit[1]].detach().numpy()
        noise = np.abs(gradient.numpy()) < 1e-7 if gradient is not None else False
        moved = np.abs(ours - stored) <= 2.1 * lr
        yield compare(fit[0], np.where(noise & moved, stored, ours), stored, STEP)


# -- published widths -------------------------------------------------------------------------------------------------
def _manifest(listed: Mapping[str, Any]) -> Checks:
    """Every name, shape, dtype and parameter count of the published widths, for every published configuration."""
    for label, config in listed["configs"].items():
        model = config.get("model", config)
        with torch.device("meta"):
            parts = networks(sized(model))
        ours = {f"{part}.{n}": shape_of(v) for part, net in parts.items() for n, v in net.state_dict().items()}
        yield exact(f"manifest {label}", ours, listed["state_dict_of_last_ckpt"])
        split = {f"{p}.{n}": entry for p, files in listed["last_weights_files"].items() for n, entry in files.items()}
        yield exact(f"manifest {label} files", ours, split)
        counts = {part: sum(p.numel() for p in net.parameters()) for part, net in parts.items()}
        yield exact(f"manifest {label} counts", counts, listed["n_parameters"])
        names = {"ff": "ff_size", "layers": "num_layers", "heads": "num_heads"}
        names |= {name: name for name in ("dropout", "activation")}
        settings = {part: {ours: model[part][theirs] for ours, theirs in names.items()} for part in PARTS}
        yield exact(f"manifest {label} settings", authors_settings({"model": model}), settings)


def networks(evaluator: TMREvaluator) -> dict[str, nn.Module]:
    """The three networks by name."""
    return {part: getattr(evaluator, part) for part in PARTS}


def sized(model: Mapping[str, Any]) -> TMREvaluator:
    """An evaluator of the sizes of a ``model`` node, as the authors compute, with weights by chance."""
    motion = model["motion_encoder"]
    options = {
        **PUBLISHED,
        "heads": motion["num_heads"],
        **authors_objective({"model": {k: v for k, v in model.items() if k != "lmd"}}),
        "unit": False,
        "variant": "upstream",
    }
    return TMREvaluator(
        features=motion["nfeats"],
        text_width=model["text_encoder"]["nfeats"],
        width=motion["latent_dim"],
        text=None,
        parts=authors_settings({"model": model}),
        vae=motion.get("vae", True),
        **options,
    )
