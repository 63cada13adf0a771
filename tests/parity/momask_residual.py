"""MoMask's residual transformer, and the whole chain from text to motion, against the authors' code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.momask.sampling import decode_base
from hmu.backbones.tokens import objectives
from hmu.backbones.tokens.encoder import to_authors
from hmu.backbones.tokens.options import ResidualOptions
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.sampling import decode_residual
from tests.parity.case import Case, Table, manifest, published, read_json, strange
from tests.parity.checks import Check, deviation, nearest, wrong
from tests.parity.momask_masked import chooser
from tests.parity.momask_models import (
    NETWORK,
    SCALES,
    STEPS,
    Chain,
    Settings,
    chains,
    gradients,
    guesses,
    masked_transformers,
    nearest_chain,
    padding_check,
    pick,
    residual_transformers,
    sizes,
    valid,
)
from tests.published import options as published_options

SCALE = 5.0  # the authors' default guidance


def options_of(numbers: dict[str, Any], shared: bool) -> ResidualOptions:
    """Options of the published size; the unshared head as the authors' code computes it."""
    return published_options(ResidualOptions, **sizes(numbers), share_weight=shared, doubled_head=not shared)


def _features(case: Case, model: ResidualTransformer, layer: str) -> Tensor:
    """What the authors' ``trans_forward`` returns ``(batch, code width, tokens)``."""
    codes = case["motion_codes"]
    layers, real = torch.full((len(codes),), int(layer)), valid(case, codes.shape[1])
    return model.output_process.poseFinal(model.features(codes, layers, case["cond"], real)).transpose(1, 2)


def _logits(case: Case, model: ResidualTransformer, layer: str, scale: str | float | None) -> Tensor:
    codes = case["motion_codes"]
    real = valid(case, codes.shape[1])
    scale = 1.0 if scale is None else float(scale)
    return model.guided(codes, int(layer), case["cond"], scale, real, padding=True).transpose(1, 2)


RTRANS_ROWS: Table = {
    r"q(\d+)_features": _features,
    r"q(\d+)_logits(?:_scale([\d.]+))?": _logits,
    r"q(\d+)_logits_(?:force_mask|uncond)": lambda case, model, layer: _logits(case, model, layer, 0.0),
}


def rtrans_checks(case: Case) -> Iterator[Check]:
    """Features and logits of every layer, the training loss and every recorded generation."""
    first = next((found[0] for found in case.find(r"q\d+_logits")), "")
    classes = case.raw(first).shape[1]
    width, code_dim, quantizers = case.last("cond"), case.last("motion_codes"), case.last("all_indices")
    unshared = "noshare" in f"{case.folder.name} {case.part}"

    def fits(model: ResidualTransformer) -> bool:
        ours = (model.codes + 1, model.cond_emb.in_features, model.output_process.poseFinal.out_features)
        good = ours == (classes, width, code_dim) and quantizers in (None, model.quantizers)
        return good and (model.options.share_weight != unshared or "noshare" not in case.folder.name)

    def fresh() -> Iterator[ResidualTransformer]:
        numbers = published(case.folder, case.part, "rtrans_noshare" if unshared else "rtrans")
        layers = quantizers or int(numbers.get("num_quantizers", 6))
        for shared in sorted((True, False), reverse=not unshared):
            yield ResidualTransformer(classes - 1, layers, code_dim or 512, width or 512, options_of(numbers, shared))

    with torch.no_grad():
        layer = first[1 : first.index("_")]
        stored = residual_transformers(case.folder)
        model = pick(case, stored, fits, lambda m: deviation(_logits(case, m, layer, 1.0), case.raw(first)), fresh)
        yield from case.table(model, RTRANS_ROWS, NETWORK)
    yield from padding_check(case, case["motion_codes"].shape[1])
    if "train/labels" in case:
        yield from _training(case, model)
    with torch.no_grad():
        for run in case.groups("gen_.+"):
            yield from _generation(model, case, run)
    yield from case.unread()


def _training(case: Case, model: ResidualTransformer) -> Iterator[Check]:
    ids, part = case["all_indices"], case.under("train/")
    real = valid(case, ids.shape[1])
    layer = objectives.active_layers(part["uniform"], model.quantizers)
    padded = torch.where(real[..., None], ids, model.pad_id)
    history = model.history(objectives.known_layers(padded, layer)[..., :-1])
    labels = padded.gather(2, layer[:, None, None].expand(-1, ids.shape[1], 1))[..., 0]
    model.zero_grad()
    logits = model(history, layer, part["cond"] if "cond" in part else case["cond"], real, padding=True)
    loss = F.cross_entropy(logits[real], labels[real])
    loss.backward()
    guess = logits.argmax(-1)
    outputs = {
        "active_q": layer,
        "history_sum": history,
        "labels": labels,
        "logits": logits.transpose(1, 2),
        "loss": loss,
        "pred_id": guess,
        "acc": (guess[real] == labels[real]).double().mean(),
    }
    yield from part.given(outputs, NETWORK)
    yield from gradients(part, model)


def greedy(step: int, logits: Tensor) -> Tensor:
    """The likeliest ids ``(batch, tokens)`` of logits ``(batch, tokens, classes)``."""
    del step
    return logits.argmax(-1)


def _generation(model: ResidualTransformer, case: Case, run: str) -> Iterator[Check]:
    part = case.under(f"{run}/")
    base, expected = part["motion_ids"], part.raw("all_indices")

    def ids(settings: Settings) -> Tensor:
        return decode_residual(
            model,
            base,
            part["cond"] if "cond" in part else case["cond"],
            valid(case, base.shape[1], f"{run}/"),
            chooser(case, run, settings, gumbel_noise=True),
            scale=0.0 if settings.get("force_mask") else float(settings["cond_scale"]),
            layers=expected.shape[-1] - 1,
            padding=True,
        )

    candidates = guesses(case.settings(run), bool(part.find(r"noise\d+")), SCALE)
    settings = nearest(candidates, lambda settings: wrong(ids(settings), expected))
    assert settings is not None
    yield from part.given({"all_indices": ids(settings)}, NETWORK)


def rtrans(folder: Path) -> Iterator[Check]:
    """A case of the residual transformer, and the manifest beside it."""
    yield from strange(folder, ".npz", ".json")
    yield from rtrans_checks(Case.read(folder))
    if (path := folder / "manifest_full.json").is_file():
        numbers = read_json(path)["hyper_parameters"]
        codes, code_dim, text = (int(numbers.get(key, 512)) for key in ("num_tokens", "code_dim", "clip_dim"))
        options = options_of(numbers, bool(numbers.get("share_weight", "noshare" not in folder.name)))
        with torch.device("meta"):
            net = ResidualTransformer(codes, int(numbers["num_quantizers"]), code_dim, text, options)
            yield from manifest(path, to_authors(net.state_dict()))


# -- from text to motion -----------------------------------------------------------------------------------------------
class Greedy:
    """A greedy run of a chain, with the decoder that reads padding.

    Args:
        case: with its arrays. chain: networks. scale: guidance of the residual transformer.
        steps: of the base transformer, and its guidance; None takes the stored base ids.
    """

    def __init__(self, case: Case, chain: Chain, scale: float, steps: tuple[int, float] | None = None) -> None:
        text, base = case["cond"], case["base_ids"]
        real = valid(case, base.shape[1])
        if steps is not None:
            base = decode_base(chain.base, torch.zeros_like(base), text, real, greedy, steps=steps[0],
                               scale=steps[1], variant="upstream")  # fmt: skip
        self.base, self.chain = base, chain
        self.ids = decode_residual(chain.residual, base, text, real, greedy, scale=scale, padding=True)
        self.normalised = chain.rvq.decode(self.ids)
        self.motion = self.normalised * chain.std + chain.mean


GREEDY_ROWS: Table = {
    "base_ids": lambda case, run: run.base,
    "all_ids": lambda case, run: run.ids,
    "normalised_motion": lambda case, run: run.normalised,
    "motion": lambda case, run: run.motion,
}


def e2e_checks(case: Case) -> Iterator[Check]:
    """Greedy generation: base codes, residual codes, motion; untold guidance and steps are guessed."""
    told = {
        name: [float(case.facts[name])]
        for name in ("res_cond_scale", "cond_scale", "timesteps")
        if case.facts.get(name)
    }

    def error(guess: tuple[Chain, float]) -> float:
        run = Greedy(case, *guess)
        return wrong(run.ids, case.raw("all_ids")) + (
            deviation(run.motion, case.raw("motion")) if "motion" in case else 0
        )

    with torch.no_grad():
        found = chains(case.folder, masked_transformers(case.folder), case.last("all_ids") or 0)
        chain, scale = nearest_chain(case, product(found, told.get("res_cond_scale", [SCALE, *SCALES])), error)
        candidates = product(map(int, told.get("timesteps", STEPS)), told.get("cond_scale", SCALES))
        steps = nearest(candidates, lambda steps: wrong(Greedy(case, chain, scale, steps).base, case.raw("base_ids")))
        yield from case.rows(Greedy(case, chain, scale, steps), GREEDY_ROWS, NETWORK)
    yield from case.unread()


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"rtrans": rtrans}
