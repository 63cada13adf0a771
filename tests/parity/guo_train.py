"""Parity of the evaluator's training: match and movement auto-encoder (``guo_match_train``, ``guo_decomp``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hmu.checkpoints.safe import load_tensors
from hmu.evaluators.guo.networks import MovementDecoder, MovementEncoder
from hmu.evaluators.guo.objectives import contrastive, distance, match_terms, movement_terms
from tests.parity.case import Case, Table
from tests.parity.checks import Checks, exact
from tests.parity.guo import F32, HOLDS, UNIT, nearest_file, stored_evaluator, width_checks
from tests.parity.kinds import compares

STEP = 1e-5


@compares("guo_match_train", known=HOLDS)
@torch.enable_grad()
def match_training(case: Case) -> Checks:
    """Losses for every shift, gradient norms, and one update that continues the stored Adam states."""
    evaluator = stored_evaluator(case.folder)
    yield from width_checks(evaluator, case.facts)
    order = case["order"]
    text = evaluator.text_encoder(case["word"], case["pos"], case["cap_lens"])[order]
    tokens = evaluator.movement(case["motions"]).detach()
    motion = evaluator.motion_encoder(tokens, case["m_lens"] // UNIT)[order]
    margin, rate = case.number("negative_margin", 10.0), case.number("lr", 1e-4)
    terms = match_terms(text, motion, int(case.raw("update_shift")), margin)
    every = [_values(match_terms(text, motion, shift, margin)) for shift in range(len(text))]
    outputs = {"text_embedding": text, "motion_embedding": motion, "losses_for_shift_0_to_B_minus_1": every}
    yield from case.given(outputs | {"update_losses": _values(terms)}, F32)
    terms["loss"].backward()
    stored = load_tensors(nearest_file(case.folder, "finest.tar"))
    for part in ("text_encoder", "motion_encoder"):
        module = getattr(evaluator, part)
        norm = nn.utils.clip_grad_norm_(module.parameters(), case.number("clip", 0.5))
        yield from case.given({f"grad_norm_{part.split('_')[0]}": norm}, F32)
        yield from _step(case, part, module, stored[f"opt_{part}"], rate)
    with_grad = any(p.grad is not None for p in evaluator.movement_encoder.parameters())
    yield from case.given({"movement_encoder_has_grad": with_grad}, 0.0)
    for prefix in sorted({fit[1] for fit in case.find(r"(cl_m[\dp.]+)_a")}):
        yield from _contrastive(case.under(f"{prefix}_"), float(prefix.removeprefix("cl_m").replace("p", ".")))


def _values(terms: Mapping[str, Tensor]) -> list[float]:
    return [float(terms[name].detach()) for name in ("positive", "negative", "loss")]


def _step(case: Case, part: str, module: nn.Module, state: Any, rate: float) -> Checks:
    """One Adam step from the stored state; gradients are in place."""
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    optimizer.load_state_dict(state)
    optimizer.step()
    after = case.under(f"after/{part}.")
    yield exact(f"names after a step of {part}", sorted(module.state_dict()), sorted(after.names()))
    yield from after.given(module.state_dict(), STEP)


def _contrastive(case: Case, margin: float) -> Checks:
    """The loss alone: ours, and the published broadcast of mixed labels."""
    a, b, label = (case[name] for name in ("a", "b", "label"))
    hinge, near = (margin - distance(a, b)).clamp_min(0).square(), distance(a, b).square()
    outputs = {
        "all0": contrastive(a, b, False, margin),
        "all1": contrastive(a, b, True, margin),
        "mixed_label_column": torch.where(label > 0, hinge, near).mean(),
        "mixed_label_as_coded": ((1 - label) * near[:, None] + label * hinge[:, None]).mean(),
        "identical_all0": contrastive(a, a, False, margin),
        "identical_all1": contrastive(a, a, True, margin),
    }
    yield from case.given(outputs, F32)


DECOMP_ROWS: Table = {
    "latents": lambda case, coder: coder[0](case["motions"][..., :-4]),
    "recon": lambda case, coder: coder[1](coder[0](case["motions"][..., :-4])),
}


@compares("guo_decomp", known=HOLDS)
@torch.enable_grad()
def decomp(case: Case) -> Checks:
    """Movement auto-encoder: latents, reconstruction, loss terms, one Adam step from the stored states."""
    stored, motion = load_tensors(nearest_file(case.folder, "latest.tar")), case["motions"]
    coder = nn.ModuleList(_autoencoder(stored))
    yield from case.table(coder, DECOMP_ROWS, F32)
    latents = coder[0](motion[..., :-4])
    rebuilt = coder[1](latents)
    terms = movement_terms(
        motion, rebuilt, latents, case.number("lambda_sparsity", 1e-3), case.number("lambda_smooth", 1e-3)
    )
    names = {"loss_rec": "reconstruction", "loss_sparsity": "sparsity", "loss_smooth": "smoothness", "loss": "loss",
             "logged_loss": "reconstruction"}  # fmt: skip
    yield from case.given({theirs: terms[ours] for theirs, ours in names.items()}, F32)
    for fit in case.find(r"loss_with_lambda_([\dp]+)_([\dp]+)"):
        weights = [float(part.replace("p", ".")) for part in fit.groups()]
        yield from case.given({fit[0]: movement_terms(motion, rebuilt, latents, *weights)["loss"]}, F32)
    terms["loss"].backward()
    for part, module in zip(("movement_enc", "movement_dec"), coder, strict=True):
        yield from _step(case, part, module, stored[f"opt_{part}"], case.number("lr", 1e-4))


def _autoencoder(stored: Mapping[str, Any]) -> tuple[MovementEncoder, MovementDecoder]:
    enc, dec = stored["movement_enc"], stored["movement_dec"]
    hidden, inputs, _ = enc["main.0.weight"].shape
    latent = enc["main.3.weight"].shape[0]
    encoder = MovementEncoder(inputs, hidden, latent).eval()
    decoder = MovementDecoder(latent, dec["main.0.weight"].shape[1], dec["out_net.weight"].shape[0]).eval()
    encoder.load_state_dict(enc)
    decoder.load_state_dict(dec)
    return encoder, decoder
