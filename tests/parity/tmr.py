"""Parity of TMR: networks, losses, one optimiser step (``tmr``), and the published widths by formula (``tmr_full``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.data.batch import length_mask
from hmu.evaluators.tmr import TMREvaluator
from hmu.evaluators.tmr.authors import from_authors, load_parts
from hmu.evaluators.tmr.evaluator import PUBLISHED
from hmu.evaluators.tmr.networks import positions
from hmu.evaluators.tmr.objectives import contrastive, false_negatives, gaussian_kl, sample_latent
from hmu.evaluators.tmr.settings import PARTS, authors_objective, authors_settings
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.precomputed import PrecomputedTextEncoder
from tests.parity.checks import Check, compare, exact
from tests.parity.guo import F32, F64, Arrays, as_tensor, one_file, read_json
from tests.parity.tmr_e2e import end_to_end, motion_to_motion

STEP = 1e-6


def load(run: Path, text: TextEncoder | None = None) -> TMREvaluator:
    """The case's evaluator as the authors compute: bare latents, published averages."""
    given = PrecomputedTextEncoder({"": torch.zeros(1, text_width(run))}) if text is None else text
    return from_authors(run, text=given, unit=False, variant="upstream")


def text_width(run: Path) -> int:
    """Width of the tokens that a run's text encoder reads."""
    return int(load_parts(run)["text_encoder"]["projection.weight"].shape[1])


def tmr(case: Path) -> Iterator[Check]:
    """Everything in the case: files, modules, losses, gradients, one step, the whole retrieval, the manifest."""
    run = one_file(case, "config.json").parent
    arrays = dict(np.load(one_file(case, "vectors.npz")))
    evaluator = load(run)
    yield from _files(run)
    with torch.no_grad():
        for suffix, dtype, tolerance in (("_f64", torch.float64, F64), ("", torch.float32, F32)):
            evaluator.to(dtype)
            yield from modules(evaluator, arrays, suffix, dtype, tolerance)
        latents = {k: as_tensor(arrays[f"{k}_enc_f64"], torch.float64)[:, 0] for k in ("text", "motion")}
        yield from similarities(latents, arrays)
        yield from _losses(evaluator, arrays)
        yield from _contrastive_cases(arrays)
    yield from _training_step(evaluator, arrays, read_json(run / "config.json")["model"]["lr"])
    if (case / "end_to_end.json").is_file():
        yield from end_to_end(case, load)
    if (case / "manifest_full.json").is_file():
        yield from _manifest(read_json(case / "manifest_full.json"))


def _files(run: Path) -> Iterator[Check]:
    """The Lightning checkpoint has the names of the extracted weights (their values were changed afterwards)."""
    if (run / "last_weights").is_dir() and (run / "logs" / "checkpoints" / "last.ckpt").is_file():
        from hmu.checkpoints.safe import load_tensors

        told = load_tensors(run / "logs" / "checkpoints" / "last.ckpt")["state_dict"]
        ours = {f"{p}.{n}": tuple(v.shape) for p, state in load_parts(run).items() for n, v in state.items()}
        yield exact("names of last.ckpt", ours, {name: tuple(value.shape) for name, value in told.items()})


# -- modules ----------------------------------------------------------------------------------------------------------
def masked(arrays: Arrays, kind: str, count: int) -> Tensor:
    """True at real entries of ``motion`` or ``text``, from the stored mask or lengths."""
    if f"{kind}_mask" in arrays:
        return torch.from_numpy(arrays[f"{kind}_mask"])
    lengths = next(arrays[n] for n in (f"{kind}_len", f"{kind}_lens", f"{kind}_lengths") if n in arrays)
    return length_mask(torch.from_numpy(lengths), count)


def stored(arrays: Arrays, name: str, dtype: torch.dtype) -> Tensor:
    """An input under its name, or under that name with ``_f16``."""
    return as_tensor(arrays[name if name in arrays else f"{name}_f16"], dtype)


def modules(
    evaluator: TMREvaluator, arrays: Arrays, suffix: str, dtype: torch.dtype, tolerance: float
) -> Iterator[Check]:
    """Encoders and decoder on the stored inputs; expected arrays may hold the first rows or columns only."""
    motion, text = (stored(arrays, kind, dtype) for kind in ("motion", "text"))
    masks = {kind: masked(arrays, kind, value.shape[1]) for kind, value in (("motion", motion), ("text", text))}
    ours = {"motion_enc": evaluator.motion_encoder(motion, masks["motion"])}
    ours["text_enc"] = evaluator.text_encoder(text, masks["text"])
    ours["motion_projected"] = evaluator.motion_encoder.projection(motion)[0]
    if "decode_z" in arrays:
        latent = stored(arrays, "decode_z", dtype)
        ours["decode_out"] = evaluator.motion_decoder(latent, masks["motion"])
        if "decode_lengths2" in arrays:
            lengths = torch.from_numpy(arrays["decode_lengths2"])
            ours["decode_out2"] = evaluator.motion_decoder(latent, length_mask(lengths, int(lengths.max())))
    for name in sorted(arrays):
        stem = name.removesuffix("_first").removesuffix("_f16")
        wanted = stem.removesuffix("_f64") if suffix else stem
        if wanted in ours and stem.endswith("_f64") == bool(suffix):
            yield compare(name, ours[wanted][tuple(map(slice, arrays[name].shape))], arrays[name], tolerance)
    if not suffix:
        table = next((n for n in arrays if n.startswith("pe_first")), None)
        if table is not None:
            yield compare(table, positions(*arrays[table].shape), arrays[table], 1e-6)
        yield from _sampled(ours["motion_enc"], arrays)


def _sampled(encoded: Tensor, arrays: Arrays) -> Iterator[Check]:
    order = arrays.get("motion_mu_logvar_order", np.arange(2))
    mean, logvar = encoded[:, order[0]], encoded[:, order[1]]
    for name in (n for n in arrays if n.startswith("motion_sampled")):
        factor = float(name.rpartition("_fact_")[2].replace("p", ".")) if "_fact_" in name else 1.0
        yield compare(name, sample_latent(mean, logvar, as_tensor(arrays["motion_eps"]), factor), arrays[name], F32)


def similarities(latents: Mapping[str, Tensor], arrays: Arrays) -> Iterator[Check]:
    """Cosines and scores of text and motion latents, where stored."""
    text, motion = (F.normalize(latents[kind], dim=-1) for kind in ("text", "motion"))
    similarity = text @ motion.mT
    score = similarity / 2 + 0.5
    told = {"sim_matrix": similarity, "score_matrix": score, "score_single_pair": score[0, 0]}
    for name in sorted(told.keys() & arrays.keys()):
        yield compare(name, told[name], arrays[name], F32)


# -- losses -----------------------------------------------------------------------------------------------------------
def _terms(evaluator: TMREvaluator, arrays: Arrays, dtype: torch.dtype, sampled: bool) -> dict[str, Tensor]:
    motion, text = (stored(arrays, kind, dtype) for kind in ("motion", "text"))
    mask = masked(arrays, "motion", motion.shape[1])
    condition = TextCondition(text, masked(arrays, "text", text.shape[1]))
    encoded = evaluator.motion_encoder(motion, mask)
    latents = evaluator.encode_text(condition), (encoded[:, 0], encoded[:, 1])
    noise = None
    if sampled:
        noise = (stored(arrays, "loss_text_eps", dtype), stored(arrays, "loss_motion_eps", dtype))
    return evaluator.joint_terms(motion, mask, latents, noise, stored(arrays, "sent_emb", dtype))


def _losses(evaluator: TMREvaluator, arrays: Arrays) -> Iterator[Check]:
    for prefix, sampled in (("loss_mean_", False), ("loss_", True)):
        for suffix, dtype, tolerance in (("_f64", torch.float64, F64), ("", torch.float32, F32)):
            evaluator.to(dtype)
            for name, value in _terms(evaluator, arrays, dtype, sampled).items():
                if f"{prefix}{name}{suffix}" in arrays:
                    yield compare(f"{prefix}{name}{suffix}", value, arrays[f"{prefix}{name}{suffix}"], tolerance)
    encoded = {k: as_tensor(arrays[f"{k}_enc_f64"], torch.float64) for k in ("text", "motion")}
    for kind in ("text", "motion"):
        name = f"loss_{kind}_latent"
        if name in arrays:
            eps = stored(arrays, f"loss_{kind}_eps", torch.float64)
            yield compare(name, sample_latent(encoded[kind][:, 0], encoded[kind][:, 1], eps), arrays[name], F32)
    encoded["ref"] = torch.zeros_like(encoded["text"])
    for name in (n for n in arrays if n.startswith("kl_")):
        first, second = (encoded[kind] for kind in name.split("_")[1:])
        ours = gaussian_kl(first[:, 0], first[:, 1], second[:, 0], second[:, 1])
        yield compare(name, ours, arrays[name], F32)


def _contrastive_cases(arrays: Arrays) -> Iterator[Check]:
    x, y, sentences = (as_tensor(arrays[f"nce_{n}"]) for n in ("x", "y", "sent"))
    alike = F.normalize(torch.ones_like(sentences), dim=-1)
    for name in sorted(n for n in arrays if n.startswith("nce_t")):
        temperature, _, rule = name.removeprefix("nce_t").partition("_")
        if rule == "nosent":
            filtered = None
        elif rule == "allfiltered":
            filtered = false_negatives(alike, 0.5)
        else:
            told = rule.removeprefix("th")
            filtered = false_negatives(sentences, None if told == "None" else float(told))
        yield compare(name, contrastive(x, y, float(temperature), filtered), arrays[name], F32)
    for name in (n for n in arrays if n.startswith("nce_filtered_mask_th")):
        yield exact(name, false_negatives(sentences, float(name.rpartition("th")[2])).numpy(), arrays[name])


def _training_step(evaluator: TMREvaluator, arrays: Arrays, lr: float) -> Iterator[Check]:
    """Gradients of the loss on the means without dropout, then one AdamW step."""
    evaluator.to(torch.float32).zero_grad()
    parameters = dict(evaluator.named_parameters())
    _terms(evaluator, arrays, torch.float32, False)["loss"].backward()  # type: ignore[no-untyped-call]
    for name in (n for n in arrays if n.startswith("grad/")):
        yield compare(name, parameters[name.removeprefix("grad/")].grad, arrays[name], F32)
    if "grad_norm_total" in arrays:
        norms = torch.stack([p.grad.norm() for p in parameters.values() if p.grad is not None])
        yield compare("grad_norm_total", norms.norm(), arrays["grad_norm_total"], F32)
    torch.optim.AdamW(evaluator.stage_parameters("joint"), lr=lr).step()
    for name in (n for n in arrays if n.startswith("after_step/")):
        # the first step of Adam is lr * sign(gradient): where a gradient is rounding noise, so is its sign
        gradient = parameters[name.removeprefix("after_step/")].grad
        ours = parameters[name.removeprefix("after_step/")].detach().numpy()
        noise = np.abs(gradient.numpy()) < 1e-7 if gradient is not None else False
        moved = np.abs(ours - arrays[name]) <= 2.1 * lr
        yield compare(name, np.where(noise & moved, arrays[name], ours), arrays[name], STEP)


# -- published widths -------------------------------------------------------------------------------------------------
def _manifest(manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Every name, shape, dtype and parameter count of the published widths, for every published configuration."""
    for label, config in manifest["configs"].items():
        model = config.get("model", config)
        evaluator = empty(model)
        ours = {
            f"{part}.{name}": {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
            for part in PARTS
            for name, value in getattr(evaluator, part).state_dict().items()
        }
        yield exact(f"manifest {label}", ours, manifest["state_dict_of_last_ckpt"])
        split = {f"{p}.{n}": told for p, files in manifest["last_weights_files"].items() for n, told in files.items()}
        yield exact(f"manifest {label} files", ours, split)
        counts = {name: sum(p.numel() for p in getattr(evaluator, name).parameters()) for name in PARTS}
        yield exact(f"manifest {label} counts", counts, manifest["n_parameters"])
        yield exact(f"manifest {label} settings", authors_settings({"model": model}), _told_settings(model))


def _told_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    names = {"ff": "ff_size", "layers": "num_layers", "heads": "num_heads", "dropout": "dropout"}
    names["activation"] = "activation"
    return {part: {ours: model[part][theirs] for ours, theirs in names.items()} for part in PARTS}


def empty(model: Mapping[str, Any]) -> TMREvaluator:
    """An evaluator without values, of the sizes of a ``model`` node."""
    with torch.device("meta"):
        return TMREvaluator(
            features=model["motion_encoder"]["nfeats"],
            text=None,
            text_width=model["text_encoder"]["nfeats"],
            width=model["motion_encoder"]["latent_dim"],
            parts=authors_settings({"model": model}),
            vae=model["motion_encoder"].get("vae", True),
            **{
                **PUBLISHED,
                "heads": model["motion_encoder"]["num_heads"],
                **authors_objective({"model": {k: v for k, v in model.items() if k != "lmd"}}),
            },
        )


def motion_search(case: Path) -> Iterator[Check]:
    """Motion-to-motion retrieval with the evaluator of the neighbouring case."""
    yield from motion_to_motion(case, load)


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"tmr": tmr, "hmu_m2m": motion_search}
