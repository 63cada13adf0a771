"""BAMM's transformer against the authors' code: logits, attention, training, both passes of generation, editing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.bamm.corruption import Corrupted, Hidden, corrupt, masked_terms
from hmu.backbones.bamm.generation import Noise, find_end, generate_ids, refine_pass, with_end
from hmu.backbones.bamm.options import BidirectionalOptions, SamplingOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.tokens.encoder import to_authors
from hmu.data.batch import length_mask
from tests.parity.case import Case, Table, manifest, published, read_json, strange
from tests.parity.checks import Check, deviation, exact, nearest, wrong
from tests.parity.momask_models import NETWORK, SCALES, bamm_transformers, gradients, pick, sizes
from tests.published import options as published_options


def fresh(
    numbers: Mapping[str, Any],
    codes: int | None = None,
    text_width: int = 512,
    places: int = 1,
    blocks: str = "official",
) -> BidirectionalTransformer:
    """A fresh transformer of a manifest's hyper-parameters; what it does not tell is as published.

    Args:
        numbers: of the manifest.
        codes, text_width, places: what a case's arrays tell (places: of its tokens, END included).
        blocks: kind of the blocks where the manifest does not name it.
    """
    options = published_options(BidirectionalOptions, **sizes(dict(numbers)), blocks=str(numbers.get("trans", blocks)))
    options = replace(options, max_tokens=max(options.max_tokens, places - 1))
    codes = int(numbers.get("num_tokens", 512)) if codes is None else codes
    return BidirectionalTransformer(codes, int(numbers.get("code_dim", 512)), text_width, options)


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


def bamm_checks(case: Case) -> Iterator[Check]:
    """All that a case of the transformer holds."""
    first = next(name for name in ("logits_causal", "logits_cond") if name in case)
    kind, width, places = first.removeprefix("logits_"), case.last("cond") or 512, case.last("ids") or 1
    codes = case.raw(first).shape[1] - 1

    def sized() -> Iterator[BidirectionalTransformer]:
        for blocks in sorted(("official", "t2mgpt"), key=lambda name: ("gpt" in case.part) != ("gpt" in name)):
            names = ("bamm_t2mgpt", "bamm") if "gpt" in blocks else ("bamm", "bamm_t2mgpt")
            numbers = published(case.folder, *names) | {"trans": blocks}
            yield fresh(numbers, codes, width, places)

    with torch.no_grad():
        net = pick(
            case,
            bamm_transformers(case.folder),
            lambda net: (net.codes, net.text_width) == (codes, width),
            lambda net: deviation(_logits(case, net, kind, 1.0), case.raw(first)),
            sized,
        )
        yield from case.table(net, BAMM_ROWS, NETWORK)
        for run in case.groups("gen_.+"):
            yield from _generation(net, case, run)
        if "edit2/ids" in case:
            yield from _edit(net, case.under("edit2/"))
    for run in case.groups("train.*"):
        yield from _training(net, case, run)
    yield from case.unread()


# -- training ----------------------------------------------------------------------------------------------------------
def _corrupted(net: BidirectionalTransformer, case: Case, run: str) -> Corrupted:
    """The recorded draws, applied by our code. The rate of random ids is a draw that has been used already."""
    part, lengths, options = case.under(f"{run}/"), case["train_m_lens"], net.options
    tokens = F.pad(case["train_ids"], (0, 1), value=net.pad_id)
    happens = float(part.raw("occur_r")) < options.condition_chance
    rate = float(part.raw("cond_r")) * options.condition_rate * happens
    hidden = Hidden(part["cond_uniform"] < rate, part["mask_rid"].bool(), part["rand_id"])
    case.used.add(f"{run}/np_rate")
    return corrupt(with_end(tokens, lengths, net.end_id), lengths, hidden)


def _training(net: BidirectionalTransformer, case: Case, run: str) -> Iterator[Check]:
    """Inputs, loss, accuracy and gradients of one recorded training batch."""
    state = _corrupted(net, case, run)
    net.zero_grad()
    output = net(state.ids, case["train_cond"], state.conditions)[:, :-1]
    terms = masked_terms(output, state)
    terms["loss"].backward()
    outputs = {
        "x_ids": state.ids,
        "train_cond_idx": torch.where(state.conditions, state.target, net.pad_id),
        "labels": state.target,
        "logits": output.transpose(1, 2),
        "loss": terms["loss"],
        "pred_id": output.argmax(-1),
        "acc": terms["accuracy"],
    }
    part = case.under(f"{run}/")
    yield from part.given(outputs, NETWORK)
    yield from gradients(part, net)


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


def _generation(net: BidirectionalTransformer, case: Case, run: str) -> Iterator[Check]:
    """Both passes token by token, with our remembered keys and values in the first."""
    part, settings = case.under(f"{run}/"), case.settings(run)
    scales = [float(settings.get("cond_scale", SCALES[0]))] if settings else SCALES

    def error(scale: float) -> float:
        return max(
            wrong(value, part.raw(name)) for name, value in _passes(net, part, settings, scale).items() if name in part
        )

    yield from part.given(_passes(net, part, settings, nearest(scales, error) or 0.0), NETWORK)
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
    ours = generate_ids(net, part["cond"], None if predicts else given, options, noise, upstream=True)
    assert ours.second is not None
    places = ours.ids.shape[1]
    inside, up_to_end = length_mask(ours.lengths, places), length_mask(ours.lengths + 1, places)
    first = F.pad(ours.first.ids, (0, 1), value=net.pad_id)
    return {
        "pass1_ids": first,
        "pass1_probs": ours.first.probabilities,
        "pass2_ids_in": ours.before if predicts else torch.where(up_to_end, ours.before, first),
        "pass2_cond_idx": torch.where(ours.known, ours.before, net.pad_id),
        "pass2_ids_out": ours.second.ids,
        "pass2_probs": ours.second.probabilities[:, :-1],
        "ids": ours.ids,
        "pred_len": ours.lengths,
        "pad_when_end_ids": torch.where(inside, ours.ids, -1),
        "pad_when_end_len": ours.lengths,
    }


def _edit(net: BidirectionalTransformer, case: Case) -> Iterator[Check]:
    """Editing as the authors' code runs: the text is ignored, known tokens stay in place."""
    tokens = case["tokens"]
    known, text = tokens != net.pad_id, torch.zeros(len(tokens), net.text_width)
    noise = case["noise"].transpose(0, 1)
    drawn = refine_pass(net, tokens, known, text, places=tokens.shape[1], scale=0.0, noise=noise)
    yield exact("edit2/ids", drawn.ids, case.raw("ids"))


def bamm(folder: Path) -> Iterator[Check]:
    """A case of the transformer, and the manifest beside it."""
    yield from strange(folder, ".npz", ".json")
    yield from bamm_checks(Case.read(folder))
    if (path := folder / "manifest_full.json").is_file():
        with torch.device("meta"):
            yield from manifest(path, to_authors(fresh(read_json(path)["hyper_parameters"]).state_dict()))


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"bamm": bamm}
