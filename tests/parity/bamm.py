"""BAMM's transformer against the authors' code: logits, attention, training, both passes of generation, editing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.bamm import generation
from hmu.backbones.bamm.authors import load_transformer
from hmu.backbones.bamm.corruption import Hidden, corrupt, masked_terms
from hmu.backbones.bamm.generation import Drawn, Noise, find_end, generate_ids, refine_pass, with_end
from hmu.backbones.bamm.options import BidirectionalOptions, SamplingOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.data.batch import length_mask
from tests.authors_names import to_authors
from tests.parity.case import Case, Table
from tests.parity.checks import Checks, deviation, exact, nearest
from tests.parity.kinds import compares
from tests.parity.manifests import manifest_checks, published
from tests.parity.momask_models import NETWORK, SCALES, pick, sizes, stored, trained, widths
from tests.published import options as published_options


def fresh(numbers: Mapping[str, Any], places: int = 1) -> BidirectionalTransformer:
    """A transformer of a manifest's hyper-parameters; what it does not tell is as published.

    ``places``: of a case's tokens, END included, for which it must have room.
    """
    options = published_options(BidirectionalOptions, **sizes(numbers), blocks=str(numbers.get("trans", "official")))
    options = replace(options, max_tokens=max(options.max_tokens, places - 1))
    return BidirectionalTransformer(*widths(numbers), options)


def _logits(case: Case, net: BidirectionalTransformer, kind: str, scale: float) -> Tensor:
    """Guided logits of the case's tokens in the authors' layout ``(batch, classes, places)``."""
    known = None if kind == "causal" else case["cond_idx"] != net.pad_id
    return net.guided(case["ids"], case["cond"], scale, known).transpose(1, 2)


BAMM_ROWS: Table = {
    "logits_(causal|cond)": lambda case, net, kind: _logits(case, net, kind, 1.0),
    "logits_(causal|cond)_uncond": lambda case, net, kind: _logits(case, net, kind, 0.0),
    r"logits_(causal|cond)_scale([\d.p]+)": lambda case, net, kind, scale: _logits(
        case, net, kind, float(scale.replace("p", "."))
    ),
    "attend_cond": lambda case, net: net.attention_mask(case["cond_idx"] != net.pad_id)[:, 0],
    "m_lens": lambda case, net: find_end(case["ids"], net.end_id),
}


def bamm_checks(case: Case) -> Checks:
    """All that a case of the transformer holds."""
    first = case.first("logits_causal", "logits_cond")
    codes, width = case.raw(first).shape[1] - 1, case.last("cond") or 512

    def sized() -> Iterator[BidirectionalTransformer]:
        kinds = {"official": ("bamm", "bamm_t2mgpt"), "t2mgpt": ("bamm_t2mgpt", "bamm")}
        for blocks in sorted(kinds, key=lambda name: ("gpt" in case.part) != ("gpt" in name)):
            own = {"trans": blocks, "num_tokens": codes, "clip_dim": width}
            yield fresh(published(case.folder, *kinds[blocks]) | own, case.last("ids") or 1)

    def fits(net: BidirectionalTransformer) -> bool:
        return (net.codes, net.text_width) == (codes, width)

    candidates = stored(case.folder, load_transformer)
    net = pick(case, candidates, fits, lambda net: case.off(net, BAMM_ROWS, first), sized)
    yield from case.table(net, BAMM_ROWS, NETWORK)
    for run in case.groups("gen_.+"):
        yield from _generation(net, case, run)
    if "edit2/ids" in case:
        yield from _edit(net, case.under("edit2/"))
    for run in case.groups("train.*"):
        yield from _training(net, case, case.under(f"{run}/"))


@torch.enable_grad()
def _training(net: BidirectionalTransformer, case: Case, part: Case) -> Checks:
    """A recorded batch: its draws, applied by our code. The rate of random ids is a draw that is used up already."""
    lengths, options = case["train_m_lens"], net.options
    tokens = F.pad(case["train_ids"], (0, 1), value=net.pad_id)
    happens = float(part.raw("occur_r")) < options.condition_chance
    rate = float(part.raw("cond_r")) * options.condition_rate * happens
    hidden = Hidden(part["cond_uniform"] < rate, part["mask_rid"].bool(), part["rand_id"])
    case.used.add(f"{part.at}np_rate")
    state = corrupt(with_end(tokens, lengths, net.end_id), lengths, hidden)
    output = net(state.ids, case["train_cond"], state.conditions)[:, :-1]
    terms = masked_terms(output, state)
    others = {
        "x_ids": state.ids,
        "train_cond_idx": torch.where(state.conditions, state.target, net.pad_id),
        "labels": state.target,
    }
    yield from trained(part, net, output, terms["loss"], terms["accuracy"], **others)


# -- generation --------------------------------------------------------------------------------------------------------
def stored_noise(case: Case) -> Noise:
    """Recorded draws of both passes, none where the run was greedy, and which tokens the second pass renewed.

    All scores tie there, so the choice is that of the recording machine's sort and is replayed like a draw.
    """
    drawn = [case.get(f"noise_pass{number}") for number in (1, 2)]
    first, second = (None if noise is None else noise.transpose(0, 1) for noise in drawn)
    choice = case.get("pass2_cond_idx")
    if choice is None:
        return Noise(first, second)
    choice = choice[:, :-1]
    return Noise(first, second, (choice != choice.max()).float())  # pad is the largest id


def authors_options(scale: float, noise: Noise) -> SamplingOptions:
    """What the authors' generation always does; the ranking is recorded, or left to this machine's sort."""
    ranking = "tied" if noise.scores is None else "random"
    return published_options(SamplingOptions, guidance=scale, ranking=ranking, refine_guidance=3.0)


def _generation(net: BidirectionalTransformer, case: Case, run: str) -> Checks:
    """Both passes token by token, with our remembered keys and values in the first."""
    part, settings = case.under(f"{run}/"), case.settings(run)
    scales = [float(settings.get("cond_scale", SCALES[0]))] if settings else SCALES

    def error(scale: float) -> float:
        outputs = _passes(net, part, settings, scale)
        return max(deviation(value, part.raw(name)) for name, value in outputs.items() if name in part)

    yield from part.given(_passes(net, part, settings, nearest(scales, error)), NETWORK)
    if "pred_len" in settings:
        yield exact(f"{run} pred_len of case.json", part.raw("pred_len").tolist(), settings["pred_len"])


def _passes(net: BidirectionalTransformer, part: Case, settings: Mapping[str, Any], scale: float) -> dict[str, Tensor]:
    """What both passes of a run give, under its stored names."""
    noise = stored_noise(part)
    # a run that does not predict its length draws no END
    predicts = noise.first is None or noise.first.shape[-1] > net.codes
    predicts = bool(settings.get("is_predict_len", predicts))
    given = part.get("m_lens")
    options = authors_options(scale, noise)
    drawn: dict[str, Drawn] = {}
    inputs: dict[str, tuple[Any, ...]] = {}

    def watched(name: str) -> AbstractContextManager[object]:
        original = getattr(generation, name)

        def run(*tensors: Any, **settings: Any) -> Drawn:
            inputs[name], drawn[name] = tensors, original(*tensors, **settings)
            return drawn[name]

        return patch.object(generation, name, run)

    with watched("causal_pass"), watched("refine_pass"):
        ours = generate_ids(net, part["cond"], None if predicts else given, options, noise, upstream=True)
    _, before, known, _ = inputs["refine_pass"]
    places = ours.ids.shape[1]
    inside, up_to_end = length_mask(ours.lengths, places), length_mask(ours.lengths + 1, places)
    first = F.pad(drawn["causal_pass"].ids, (0, 1), value=net.pad_id)
    return {
        "pass1_ids": first,
        "pass1_probs": drawn["causal_pass"].probabilities,
        "pass2_ids_in": before if predicts else torch.where(up_to_end, before, first),
        "pass2_cond_idx": torch.where(known, before, net.pad_id),
        "pass2_ids_out": drawn["refine_pass"].ids,
        "pass2_probs": drawn["refine_pass"].probabilities[:, :-1],
        "ids": ours.ids,
        "pred_len": ours.lengths,
        "pad_when_end_ids": torch.where(inside, ours.ids, -1),
        "pad_when_end_len": ours.lengths,
    }


def _edit(net: BidirectionalTransformer, case: Case) -> Checks:
    """Editing as the authors' code runs: the text is ignored, known tokens stay in place."""
    tokens = case["tokens"]
    known, text = tokens != net.pad_id, torch.zeros(len(tokens), net.text_width)
    noise = case["noise"].transpose(0, 1)
    drawn = refine_pass(net, tokens, known, text, places=tokens.shape[1], scale=0.0, noise=noise)
    yield exact("edit2/ids", drawn.ids, case.raw("ids"))


@compares("bamm")
def bamm(case: Case) -> Checks:
    """A case of the transformer, and the manifest beside it."""
    yield from bamm_checks(case)
    yield from manifest_checks(case, fresh, to_authors)
