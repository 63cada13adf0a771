"""BAMM's transformer against the authors' code: logits, attention, training, both passes of generation, editing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.bamm.authors import load_transformer
from hmu.backbones.bamm.corruption import Corrupted, Hidden, corrupt, masked_terms
from hmu.backbones.bamm.generation import Noise, find_end, generate_ids, refine_pass, with_end
from hmu.backbones.bamm.options import BidirectionalOptions, SamplingOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.momask.encoder import to_authors
from hmu.backbones.tokens.authors import load_rvq
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError
from tests import published as numbers_of
from tests.parity.checks import Check, exact
from tests.parity.momask_files import (
    DOUBLE,
    NETWORK,
    Case,
    check_all,
    compare_array,
    deviation,
    fill_by_rule,
    folders,
    manifest,
    open_case,
    pick,
)
from tests.parity.momask_masked import transformer_sizes
from tests.parity.salad_files import Arrays


def published(
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
    options = numbers_of.options(
        BidirectionalOptions, **transformer_sizes(dict(numbers)), blocks=str(numbers.get("trans", blocks))
    )
    options = replace(options, max_tokens=max(options.max_tokens, places - 1))
    codes = int(numbers.get("num_tokens", 512)) if codes is None else codes
    return BidirectionalTransformer(codes, int(numbers.get("code_dim", 512)), text_width, options)


def codes_beside(folder: Path, opt: Mapping[str, Any]) -> int:
    """Size of the codebooks of the tokenizer that an ``opt.txt`` names."""
    return load_rvq(folder.parent / str(opt.get("vq_name")))[0].options.codes


def transformers(case: Path) -> dict[str, BidirectionalTransformer]:
    """Every BAMM transformer beside the case."""
    found = {}
    for folder, opt in folders(case):
        try:
            found[folder.name] = load_transformer(folder, codes_beside(folder, opt))[0]
        except CheckpointError:
            continue  # another part's folder
    return found


def logits(net: BidirectionalTransformer, arrays: Arrays, conditions: Tensor | None, scale: float) -> Tensor:
    """Guided logits of the case's tokens in the authors' layout ``(batch, classes, places)``."""
    text = arrays.tensor("cond", net.cond_emb.weight.dtype)
    return net.guided(arrays.tensor("ids"), text, scale, conditions).transpose(1, 2)


def forwards(net: BidirectionalTransformer, arrays: Arrays) -> dict[str, Tensor]:
    """Logits with and without text and conditions, at every stored scale."""
    known = arrays.tensor("cond_idx") != net.pad_id if "cond_idx" in arrays else None
    outputs: dict[str, Tensor] = {}
    for kind, conditions in {"causal": None, "cond": known}.items():
        if kind == "cond" and known is None:
            continue
        outputs |= {
            f"logits_{kind}": logits(net, arrays, conditions, 1.0),
            f"logits_{kind}_uncond": logits(net, arrays, conditions, 0.0),
        }
        stem = f"logits_{kind}_scale"
        for name in [n for n in arrays if n.startswith(stem)]:
            scale = float(name.removeprefix(stem).removesuffix("_f64").replace("p", "."))
            outputs[name.removesuffix("_f64")] = logits(net, arrays, conditions, scale)
    if known is not None:
        outputs["attend_cond"] = net.attention_mask(known)[:, 0]
    return outputs


def model_for(case: Case) -> BidirectionalTransformer:
    """The transformer a case belongs to: a stored one, or one of the published size that is filled."""
    arrays = case.arrays
    places, width, classes = arrays["ids"].shape[1], arrays["cond"].shape[1], arrays["logits_causal"].shape[1]
    if case.filled:
        blocks = "t2mgpt" if "gpt" in case.part else "official"
        return fill_by_rule(published(case.hyper_parameters(), classes - 1, width, places, blocks), case.filled)

    def fits(net: BidirectionalTransformer) -> bool:
        return (net.codes + 1, net.text_width) == (classes, width)

    def error(net: BidirectionalTransformer) -> float:
        return deviation(logits(net, arrays, None, 1.0), arrays["logits_causal"])

    return pick(case.folder, transformers(case.folder), fits, error)


def bamm_checks(case: Case) -> Iterator[Check]:
    """All that a case of the transformer holds."""
    arrays = case.arrays
    with torch.no_grad():
        net = model_for(case)
        yield from check_all(arrays, forwards(net, arrays), NETWORK)
        if "m_lens" in arrays:
            yield exact("m_lens", find_end(arrays.tensor("ids"), net.end_id).numpy(), arrays["m_lens"])
        for run in sorted({n.split("/")[0] for n in arrays if n.startswith("gen_")}):
            yield from _generation(net, case, run)
        if "edit2/ids" in arrays:
            yield from _edit(net, arrays)
    for run in sorted({n.split("/")[0] for n in arrays if n.startswith("train") and "/" in n}):
        yield from _training(net, arrays, run)
    if any(name.endswith("_f64") for name in arrays):
        with torch.no_grad():
            double = forwards(net.double(), arrays)
            yield from check_all(arrays, {f"{name}_f64": value for name, value in double.items()}, DOUBLE)
    yield from arrays.unread()


# -- training ----------------------------------------------------------------------------------------------------------
def _corrupted(net: BidirectionalTransformer, arrays: Arrays, run: str) -> Corrupted:
    """The recorded draws, applied by our code. The rate of random ids is a draw that has been used already."""
    lengths, options = arrays.tensor("train_m_lens"), net.options
    tokens = F.pad(arrays.tensor("train_ids"), (0, 1), value=net.pad_id)
    rate = float(arrays[f"{run}/cond_r"]) * options.condition_rate
    happens = float(arrays[f"{run}/occur_r"]) < options.condition_chance
    shown = arrays.tensor(f"{run}/cond_uniform") < (rate if happens else 0.0)
    hidden = Hidden(shown, arrays.tensor(f"{run}/mask_rid").bool(), arrays.tensor(f"{run}/rand_id"))
    arrays[f"{run}/np_rate"]
    return corrupt(with_end(tokens, lengths, net.end_id), lengths, hidden)


def _training(net: BidirectionalTransformer, arrays: Arrays, run: str) -> Iterator[Check]:
    """Inputs, loss, accuracy and gradients of one recorded training batch."""
    state = _corrupted(net, arrays, run)
    net.zero_grad()
    answer = net(state.ids, arrays.tensor("train_cond"), state.conditions)[:, :-1]
    terms = masked_terms(answer, state)
    terms["loss"].backward()
    outputs = {
        "x_ids": state.ids,
        "train_cond_idx": torch.where(state.conditions, state.target, net.pad_id),
        "labels": state.target,
        "logits": answer.transpose(1, 2),
        "loss": terms["loss"],
        "pred_id": answer.argmax(-1),
        "acc": terms["accuracy"],
    }
    yield from check_all(arrays, outputs, NETWORK, f"{run}/")
    gradients = to_authors({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in net.named_parameters()})
    for name in [n for n in arrays if n.startswith(f"{run}/grad/")]:
        yield compare_array(name, gradients[name.removeprefix(f"{run}/grad/")], arrays[name], NETWORK)


# -- generation --------------------------------------------------------------------------------------------------------
def stored_noise(arrays: Arrays, run: str) -> Noise:
    """Recorded draws of both passes, none where the run was greedy, and which tokens the second pass renewed.

    All scores tie there, so the choice is that of the recording machine's sort and is replayed like a draw.
    """
    names = [f"{run}/noise_pass{number}" for number in (1, 2)]
    first, second = (arrays.tensor(n).transpose(0, 1) if n in arrays else None for n in names)
    name = f"{run}/pass2_cond_idx"
    if name not in arrays:
        return Noise(first, second)
    choice = arrays.tensor(name)[:, :-1]
    return Noise(first, second, (choice != choice.max()).float())  # pad is the largest id


def authors_options(scale: float, noise: Noise) -> SamplingOptions:
    """What the authors' generation always does; the ranking is recorded, or left to this machine's sort."""
    ranking = "tied" if noise.scores is None else "random"
    return numbers_of.options(SamplingOptions, guidance=scale, ranking=ranking, refine_guidance=3.0)


def _generation(net: BidirectionalTransformer, case: Case, run: str) -> Iterator[Check]:
    """Both passes token by token, with our remembered keys and values in the first."""
    arrays, settings = case.arrays, case.settings(run)
    predicts = bool(settings.get("is_predict_len", True))
    given = arrays.tensor(f"{run}/m_lens")
    noise = stored_noise(arrays, run)
    options = authors_options(float(settings["cond_scale"]), noise)
    text = arrays.tensor(f"{run}/cond")
    ours = generate_ids(net, text, None if predicts else given, options, noise, upstream=True)
    assert ours.second is not None
    places = ours.ids.shape[1]
    inside, up_to_end = length_mask(ours.lengths, places), length_mask(ours.lengths + 1, places)
    first = F.pad(ours.first.ids, (0, 1), value=net.pad_id)
    before = ours.before if predicts else torch.where(up_to_end, ours.before, first)
    outputs = {
        "pass1_ids": first,
        "pass1_probs": ours.first.probabilities,
        "pass2_ids_in": before,
        "pass2_cond_idx": torch.where(ours.known, ours.before, net.pad_id),
        "pass2_ids_out": ours.second.ids,
        "pass2_probs": ours.second.probabilities[:, :-1],
        "ids": ours.ids,
        "pred_len": ours.lengths,
        "pad_when_end_ids": torch.where(inside, ours.ids, -1),
        "pad_when_end_len": ours.lengths,
    }
    yield from check_all(arrays, outputs, NETWORK, f"{run}/")
    if "pred_len" in settings:
        yield exact(f"{run} pred_len of case.json", ours.lengths.tolist(), settings["pred_len"])


def _edit(net: BidirectionalTransformer, arrays: Arrays) -> Iterator[Check]:
    """Editing as the authors' code runs: the text is ignored, known tokens stay in place."""
    tokens = arrays.tensor("edit2/tokens")
    known = tokens != net.pad_id
    text = torch.zeros(len(tokens), net.text_width)
    noise = arrays.tensor("edit2/noise").transpose(0, 1)
    drawn = refine_pass(net, tokens, known, text, places=tokens.shape[1], scale=0.0, noise=noise)
    yield exact("edit2/ids", drawn.ids.numpy(), arrays["edit2/ids"])


def bamm(folder: Path) -> Iterator[Check]:
    """A case of the transformer, and the manifest beside it."""
    case, strange = open_case(folder, "bamm")
    yield from strange
    yield from bamm_checks(case)
    path = folder / "manifest_full.json"
    if path.is_file():
        with torch.device("meta"):
            net = published(json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"])
            yield from manifest(path, to_authors(net.state_dict()))


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"bamm": bamm}
