"""Parity of the evaluator's training: match and movement auto-encoder (``guo_match_train``, ``guo_decomp``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hmu.checkpoints.safe import load_tensors
from hmu.evaluators.guo.authors import from_encoders, load_encoders
from hmu.evaluators.guo.networks import MovementDecoder, MovementEncoder
from hmu.evaluators.guo.objectives import contrastive, distance, match_terms, movement_terms
from tests.parity.checks import Check, compare, exact
from tests.parity.guo import F32, F64, Arrays, as_tensor, one_file, read_json, width_checks

STEP = 1e-5


def match_training(case: Path) -> Iterator[Check]:
    """Losses for every shift, gradient norms, and one update that continues the stored Adam states."""
    config, arrays = read_json(case / "config.json"), dict(np.load(one_file(case, "vectors.npz")))
    path = one_file(case, "finest.tar")
    evaluator = from_encoders(load_encoders(path), case.name, variant="upstream")
    yield from width_checks(evaluator, config)
    order = torch.from_numpy(arrays["order"])
    text = evaluator.text_encoder(
        as_tensor(arrays["word"]), as_tensor(arrays["pos"]), torch.from_numpy(arrays["cap_lens"])
    )[order]
    with torch.no_grad():
        tokens = evaluator.movement(as_tensor(arrays["motions"]))
    lengths = torch.from_numpy(arrays["m_lens"]) // evaluator.unit_length
    motion = evaluator.motion_encoder(tokens, lengths)[order]
    yield compare("text_embedding", text.detach(), arrays["text_embedding"], F32)
    yield compare("motion_embedding", motion.detach(), arrays["motion_embedding"], F32)
    margin = float(config["negative_margin"])
    with torch.no_grad():
        ours = [_values(match_terms(text, motion, shift, margin)) for shift in range(len(text))]
    yield compare("losses per shift", ours, arrays["losses_for_shift_0_to_B_minus_1"], F32)
    terms = match_terms(text, motion, int(arrays["update_shift"]), margin)
    yield compare("update_losses", _values(terms), arrays["update_losses"], F32)
    terms["loss"].backward()
    stored = load_tensors(path)
    for part in ("text_encoder", "motion_encoder"):
        module = getattr(evaluator, part)
        norm = nn.utils.clip_grad_norm_(module.parameters(), config["clip"])
        yield compare(f"gradient norm of {part}", norm, arrays[f"grad_norm_{part.split('_')[0]}"], F32)
        yield from _step(part, module, stored[f"opt_{part}"], arrays, config["lr"])
    with_grad = any(p.grad is not None for p in evaluator.movement_encoder.parameters())
    yield exact("movement encoder has a gradient", with_grad, bool(arrays["movement_encoder_has_grad"]))
    yield from _contrastive_cases(arrays)


def _values(terms: Mapping[str, Tensor]) -> list[float]:
    return [float(terms[name].detach()) for name in ("positive", "negative", "loss")]


def _step(part: str, module: nn.Module, state: Any, arrays: Arrays, lr: float) -> Iterator[Check]:
    """One Adam step from the stored state; gradients are in place."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    optimizer.load_state_dict(state)
    optimizer.step()
    expected = {n.removeprefix(f"after/{part}."): a for n, a in arrays.items() if n.startswith(f"after/{part}.")}
    yield exact(f"names after a step of {part}", sorted(module.state_dict()), sorted(expected))
    for name, value in module.state_dict().items():
        yield compare(f"after/{part}.{name}", value, expected[name], STEP)


def _contrastive_cases(arrays: Arrays) -> Iterator[Check]:
    """The loss alone: ours, and the published broadcast of mixed labels."""
    for prefix in sorted({n[: -len("_a")] for n in arrays if n.startswith("cl_m") and n.endswith("_a")}):
        margin = float(prefix.removeprefix("cl_m").replace("p", "."))
        a, b, label = (as_tensor(arrays[f"{prefix}_{n}"]) for n in ("a", "b", "label"))
        hinge, near = (margin - distance(a, b)).clamp_min(0).square(), distance(a, b).square()
        ours = {
            "all0": contrastive(a, b, False, margin),
            "all1": contrastive(a, b, True, margin),
            "mixed_label_column": torch.where(label > 0, hinge, near).mean(),
            "mixed_label_as_coded": ((1 - label) * near[:, None] + label * hinge[:, None]).mean(),
            "identical_all0": contrastive(a, a, False, margin),
            "identical_all1": contrastive(a, a, True, margin),
        }
        for name, value in ours.items():
            if f"{prefix}_{name}" in arrays:
                yield compare(f"{prefix}_{name}", value, arrays[f"{prefix}_{name}"], F32)


def decomp(case: Path) -> Iterator[Check]:
    """Movement auto-encoder: latents, reconstruction, loss terms, one Adam step from the stored states."""
    config, arrays = read_json(case / "config.json"), dict(np.load(one_file(case, "vectors.npz")))
    stored = load_tensors(one_file(case, "latest.tar"))
    encoder, decoder = _autoencoder(stored)
    motion = as_tensor(arrays["motions"])
    weights = (config["lambda_sparsity"], config["lambda_smooth"])
    for suffix, dtype, tolerance in (("_f64", torch.float64, F64), ("", torch.float32, F32)):
        encoder.to(dtype)
        decoder.to(dtype)
        latents = encoder(motion.to(dtype)[..., :-4])
        rebuilt = decoder(latents)
        yield compare(f"latents{suffix}", latents.detach(), arrays[f"latents{suffix}"], tolerance)
        yield compare(f"recon{suffix}", rebuilt.detach(), arrays[f"recon{suffix}"], tolerance)
    terms = movement_terms(motion, rebuilt, latents, *weights)
    names = {"reconstruction": "loss_rec", "sparsity": "loss_sparsity", "smoothness": "loss_smooth", "loss": "loss"}
    for ours, theirs in names.items():
        yield compare(theirs, terms[ours].detach(), arrays[theirs], F32)
    yield compare("logged_loss", terms["reconstruction"].detach(), arrays["logged_loss"], F32)
    for name in (n for n in arrays if n.startswith("loss_with_lambda_")):
        other = [float(part.replace("p", ".")) for part in name.removeprefix("loss_with_lambda_").split("_")]
        with torch.no_grad():
            yield compare(name, movement_terms(motion, rebuilt, latents, *other)["loss"], arrays[name], F32)
    terms["loss"].backward()
    for part, module in (("movement_enc", encoder), ("movement_dec", decoder)):
        yield from _step(part, module, stored[f"opt_{part}"], arrays, config["lr"])


def _autoencoder(stored: Mapping[str, Any]) -> tuple[MovementEncoder, MovementDecoder]:
    enc, dec = stored["movement_enc"], stored["movement_dec"]
    hidden, inputs, _ = enc["main.0.weight"].shape
    latent = enc["main.3.weight"].shape[0]
    encoder = MovementEncoder(inputs, hidden, latent).eval()
    decoder = MovementDecoder(latent, dec["main.0.weight"].shape[1], dec["out_net.weight"].shape[0]).eval()
    encoder.load_state_dict(enc)
    decoder.load_state_dict(dec)
    return encoder, decoder


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "guo_match_train": match_training,
    "guo_decomp": decomp,
}
