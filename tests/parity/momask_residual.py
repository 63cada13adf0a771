"""MoMask's residual transformer against the authors' code: features, logits, training, generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.tokens import objectives
from hmu.backbones.tokens.authors import load_residual
from hmu.backbones.tokens.options import ResidualOptions
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.sampling import decode_residual
from tests.authors_names import to_authors
from tests.parity.case import Case, Table
from tests.parity.checks import Checks, deviation, exact, nearest, unchecked
from tests.parity.kinds import compares
from tests.parity.manifests import manifest_checks, published
from tests.parity.momask_masked import chooser
from tests.parity.momask_models import (
    NETWORK,
    Settings,
    guesses,
    padding_check,
    pick,
    sizes,
    stored,
    trained,
    valid,
    widths,
)
from tests.published import options as published_options

SCALE = 5.0  # the authors' default guidance


def fresh(numbers: Mapping[str, Any]) -> ResidualTransformer:
    """A transformer of a manifest's hyper-parameters; the unshared head as the authors' code computes it."""
    shared = bool(numbers["share_weight"])
    options = published_options(ResidualOptions, **sizes(numbers), share_weight=shared, doubled_head=not shared)
    codes, width, text = widths(numbers)
    return ResidualTransformer(codes, int(numbers.get("num_quantizers", 6)), width, text, options)


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


def rtrans_checks(case: Case) -> Checks:
    """Features and logits of every layer, the training loss and every recorded generation."""
    first = next((fit[0] for fit in case.find(r"q\d+_logits")), "")
    classes = case.raw(first).shape[1]
    width, code_dim, quantizers = case.last("cond"), case.last("motion_codes"), case.last("all_indices")
    unshared = "noshare" in f"{case.folder.name} {case.part}"

    def fits(model: ResidualTransformer) -> bool:
        ours = (model.codes + 1, model.cond_emb.in_features, model.output_process.poseFinal.out_features)
        good = ours == (classes, width, code_dim) and quantizers in (None, model.quantizers)
        return good and (model.options.share_weight != unshared or "noshare" not in case.folder.name)

    def sized() -> Iterator[ResidualTransformer]:
        numbers = published(case.folder, case.part, "rtrans_noshare" if unshared else "rtrans")
        numbers |= {"num_tokens": classes - 1, "code_dim": code_dim, "clip_dim": width}
        numbers |= {"num_quantizers": quantizers} if quantizers else {}
        for shared in sorted((True, False), reverse=not unshared):
            yield fresh({**numbers, "share_weight": shared})

    candidates = stored(case.folder, load_residual)
    model = pick(case, candidates, fits, lambda model: case.off(model, RTRANS_ROWS, first), sized)
    yield from case.table(model, RTRANS_ROWS, NETWORK)
    yield from padding_check(case, case["motion_codes"].shape[1])
    if "train/labels" in case:
        yield from _training(case, model)
    for run in case.groups("gen_.+"):
        yield from _generation(model, case, run)


@torch.enable_grad()
def _training(case: Case, model: ResidualTransformer) -> Checks:
    ids, part = case["all_indices"], case.under("train/")
    real = valid(case, ids.shape[1])
    layer = objectives.active_layers(part["uniform"], model.quantizers)
    padded = torch.where(real[..., None], ids, model.pad_id)
    history = model.history(objectives.known_layers(padded, layer)[..., :-1])
    labels = padded.gather(2, layer[:, None, None].expand(-1, ids.shape[1], 1))[..., 0]
    logits = model(history, layer, part["cond"] if "cond" in part else case["cond"], real, padding=True)
    loss = F.cross_entropy(logits[real], labels[real])
    accuracy = (logits.argmax(-1)[real] == labels[real]).double().mean()
    yield from trained(part, model, logits, loss, accuracy, active_q=layer, history_sum=history, labels=labels)


def greedy(logits: Tensor) -> Tensor:
    """The likeliest ids ``(batch, tokens)`` of logits ``(batch, tokens, classes)``."""
    return logits.argmax(-1)


def _generation(model: ResidualTransformer, case: Case, run: str) -> Checks:
    part = case.under(f"{run}/")
    if "all_indices" not in part:
        yield unchecked(run, "no all_indices")
        return
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
    settings = nearest(candidates, lambda settings: deviation(ids(settings), expected))
    yield from part.given({"all_indices": ids(settings)}, NETWORK)


@compares("rtrans")
def rtrans(case: Case) -> Checks:
    """A case of the residual transformer, and the manifest beside it."""
    yield from rtrans_checks(case)
    usual = {"share_weight": "noshare" not in case.folder.name}
    yield from manifest_checks(case, lambda numbers: fresh({**usual, **numbers}), to_authors)


@compares("rtrans_force_mask")
def rtrans_force_mask(case: Case) -> Checks:
    """BAMM's residual transformer, which is MoMask's, with its text taken away."""
    expected, base, text = case["all_indices_force_mask"], case["motion_ids"], case["cond"]
    real = valid(case, base.shape[1])
    if "m_lens" in case:
        yield exact("m_lens", (base >= 0).sum(1), case.raw("m_lens"))

    def fits(net: ResidualTransformer) -> bool:
        return (net.quantizers, net.cond_emb.in_features) == (expected.shape[-1], text.shape[1])

    def ids(net: ResidualTransformer) -> Tensor:
        """All layers, greedily, as the authors' code: the model may answer "padding" inside a motion."""
        return decode_residual(net, base.clamp_min(0), text, real, greedy, scale=0.0, padding=True)

    net = pick(case, stored(case.folder, load_residual), fits, lambda net: deviation(ids(net), expected))
    yield exact("all_indices_force_mask", ids(net), expected)
