"""MoMask's masked transformer and length estimator against the authors' code: logits, training, decoding, editing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.draws import gumbel
from hmu.backbones.momask import objectives
from hmu.backbones.momask.authors import load_length, load_masked
from hmu.backbones.momask.encoder import to_authors
from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.options import LengthOptions, TransformerOptions
from hmu.backbones.momask.sampling import Chooser, decode_base, kept_classes
from hmu.data.batch import length_mask
from hmu.errors import CheckpointError
from tests import published
from tests.parity.checks import Check
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
from tests.parity.salad_files import Arrays


def transformer_sizes(numbers: dict[str, Any]) -> dict[str, Any]:
    """Sizes of a manifest's hyper-parameters; what it does not tell is as published."""
    return {key: int(numbers[key]) for key in ("latent_dim", "n_heads", "n_layers", "ff_size") if key in numbers}


def model_for(case: Case, probe: str = "") -> MaskedTransformer:
    """The transformer a case belongs to: a stored one, or one of the published size that is filled."""
    arrays = case.arrays
    codes = next(arrays[name].shape[1] for name in arrays if name == "logits" or name.endswith("_logits"))
    width = next(arrays[name].shape[1] for name in arrays if name.split("/")[-1] == "cond")
    if case.filled:
        numbers = case.hyper_parameters()
        options = published.options(TransformerOptions, **transformer_sizes(numbers))
        return fill_by_rule(MaskedTransformer(codes, int(numbers.get("code_dim", 512)), width, options), case.filled)

    found = {}
    for folder, _ in folders(case.folder):
        try:
            found[folder.name] = load_masked(folder)[0]
        except CheckpointError:
            continue  # another part's folder
    return pick(
        case.folder,
        found,
        lambda m: (m.codes, m.cond_emb.in_features) == (codes, width),
        lambda m: deviation(_logits(m, arrays, 1), arrays["logits"]),
    )


def _logits(model: MaskedTransformer, arrays: Arrays, scale: float, dtype: torch.dtype | None = None) -> Tensor:
    ids, text = arrays.tensor("tf_ids"), arrays.tensor("cond", dtype)
    return model.guided(ids, text, scale, ~arrays.tensor("padding_mask")).transpose(1, 2)


def _scales(arrays: Arrays) -> dict[str, float]:
    """Guidance by array name."""
    scales = {"logits": 1.0, "logits_uncond": 0.0, "logits_force_mask": 0.0}
    scales |= {n: float(n.removeprefix("logits_scale")) for n in arrays if re.fullmatch(r"logits_scale[\d.]+", n)}
    return scales


def mtrans_checks(case: Case) -> Iterator[Check]:
    """Logits, the training loss and every recorded generation."""
    arrays = case.arrays
    with torch.no_grad():
        model = model_for(case)
        wanted = {name: scale for name, scale in _scales(arrays).items() if name in arrays}
        yield from check_all(arrays, {n: _logits(model, arrays, s) for n, s in wanted.items()}, NETWORK)
    yield from _inputs(model, arrays)
    if "train/labels" in arrays:
        yield from _training(model, arrays)
    with torch.no_grad():
        for run in sorted({n.split("/")[0] for n in arrays if n.startswith(("gen_", "edit_"))}):
            yield from _decoding(model, case, run)
        doubles = {n: s for n, s in wanted.items() if f"{n}_f64" in arrays}
        model.double()
        outputs = {f"{n}_f64": _logits(model, arrays, s, torch.float64) for n, s in doubles.items()}
        yield from check_all(arrays, outputs, DOUBLE)
    yield from arrays.unread()


def _inputs(model: MaskedTransformer, arrays: Arrays) -> Iterator[Check]:
    """The stored inputs agree with each other: lengths, padding and special ids."""
    if "ids" in arrays and "m_lens" in arrays and "padding_mask" in arrays:
        valid = length_mask(arrays.tensor("m_lens"), arrays["ids"].shape[1])
        yield compare_array("padding_mask", ~valid, arrays["padding_mask"], 0.0)
        known = (arrays.tensor("tf_ids") == arrays.tensor("ids")) | (arrays.tensor("tf_ids") == model.mask_id)
        good = bool((known | (arrays.tensor("tf_ids") == model.pad_id)).all())
        yield Check("tf_ids of ids", 0.0 if good else float("inf"), 0.0)


def _training(model: MaskedTransformer, arrays: Arrays) -> Iterator[Check]:
    ids, lengths = arrays.tensor("ids"), arrays.tensor("m_lens")
    valid = length_mask(lengths, ids.shape[1])
    shares = arrays.tensor("train/rand_time")
    chosen = objectives.chosen_positions(shares, arrays.tensor("train/perm_uniform"), valid, "upstream")
    draws = objectives.MaskDraws(*(arrays.tensor(f"train/{name}") for name in ("mask_random", "rand_id", "mask_token")))
    inputs = objectives.masked_inputs(model, ids, valid, chosen, draws)
    yield compare_array("train/x_ids", inputs, arrays["train/x_ids"], 0.0)
    labels = torch.where(chosen, ids, model.mask_id)
    yield compare_array("train/labels", labels, arrays["train/labels"], 0.0)
    model.zero_grad()
    text = arrays.tensor("cond" if "train/cond" not in arrays else "train/cond")
    logits = model(inputs, text, valid)
    loss = F.cross_entropy(logits[chosen], ids[chosen])
    loss.backward()
    guess = logits.argmax(-1)
    outputs = {
        "logits": logits.transpose(1, 2),
        "loss": loss,
        "pred_id": guess,
        "acc": (guess[chosen] == ids[chosen]).double().mean(),
    }
    yield from check_all(arrays, outputs, NETWORK, "train/")
    yield from gradients(model, arrays)


def gradients(model: torch.nn.Module, arrays: Arrays) -> Iterator[Check]:
    """Every stored gradient, under the authors' names."""
    ours = to_authors({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()})
    for name in [n for n in arrays if n.startswith("train/grad/")]:
        value = ours.get(name.removeprefix("train/grad/"))
        yield compare_array(name, float("nan") if value is None else value, arrays[name], NETWORK)


def chooser(arrays: Arrays, run: str, settings: dict[str, Any], gumbel_noise: bool) -> Chooser:
    """Replays a run's noise; without stored noise the most likely class.

    Categorical noise is Exp(1) ``(batch * tokens, classes)`` and picks ``argmax p / e``; Gumbel noise is uniform
    ``(batch, tokens, classes)`` and picks ``argmax logit / temperature + g``.
    """
    thres, temperature = float(settings.get("topk_filter_thres", 0.9)), float(settings.get("temperature", 1.0))

    def choose(step: int, logits: Tensor) -> Tensor:
        name = f"{run}/noise{step}"
        values, classes = logits.topk(kept_classes(logits.shape[-1], thres), -1)
        if name not in arrays:
            return classes[..., 0]
        noise = arrays.tensor(name, logits.dtype).view(logits.shape).gather(-1, classes)
        if gumbel_noise:
            picked = (values / temperature + gumbel(noise)).argmax(-1, keepdim=True)
        else:
            picked = ((values / temperature).softmax(-1) / noise).argmax(-1, keepdim=True)
        return classes.gather(-1, picked)[..., 0]

    return choose


def _decoding(model: MaskedTransformer, case: Case, run: str) -> Iterator[Check]:
    """One generation or editing run: ids that enter every step, logits, and the result."""
    arrays, settings, seen = case.arrays, case.settings(run), dict[str, Tensor]()
    expected = arrays[f"{run}/ids"]
    lengths = arrays.tensor(f"{run}/m_lens" if f"{run}/m_lens" in arrays else "m_lens")
    editing = f"{run}/tokens" in arrays
    start = arrays.tensor(f"{run}/tokens") if editing else torch.zeros(expected.shape, dtype=torch.long)
    spans = arrays.tensor(f"{run}/edit_mask") if f"{run}/edit_mask" in arrays else None
    stored = len([n for n in arrays if re.fullmatch(rf"{re.escape(run)}/step\d+_input_ids", n)])

    def observe(step: int, ids: Tensor, logits: Tensor) -> None:
        seen[f"step{step}_input_ids"], seen[f"step{step}_logits"] = ids, logits.transpose(1, 2)

    ids = decode_base(
        model,
        start,
        arrays.tensor(f"{run}/cond"),
        length_mask(lengths, expected.shape[1]),
        chooser(arrays, run, settings, bool(settings.get("gsample"))),
        steps=int(settings.get("timesteps", stored)),
        scale=0.0 if settings.get("force_mask") else float(settings.get("cond_scale", 4)),
        editable=spans,
        free=editing and spans is None,
        variant="upstream",
        observe=observe,
    )
    yield from check_all(arrays, {"ids": ids, **seen}, NETWORK, f"{run}/")


def mtrans(folder: Path) -> Iterator[Check]:
    """A case of the masked transformer, and the manifest beside it."""
    case, strange = open_case(folder, "mtrans")
    yield from strange
    yield from mtrans_checks(case)
    path = folder / "manifest_full.json"
    if path.is_file():
        numbers = json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"]
        options = published.options(TransformerOptions, **transformer_sizes(numbers))
        codes, code_dim = int(numbers.get("num_tokens", 512)), int(numbers.get("code_dim", 512))
        with torch.device("meta"):
            model = MaskedTransformer(codes, code_dim, int(numbers.get("clip_dim", 512)), options)
            yield from manifest(path, to_authors(model.state_dict()))


# -- length estimator ------------------------------------------------------------------------------------------------
def length_checks(case: Case) -> Iterator[Check]:
    """Logits, probabilities and loss."""
    arrays = case.arrays
    text = arrays.tensor("text_emb")
    with torch.no_grad():
        model = _estimator(case)
        logits = model(text)
        outputs = {"logits": logits, "probs": logits.softmax(-1), "argmax": logits.argmax(-1)}
        if "labels" in arrays:
            outputs["loss"] = model.loss(text, arrays.tensor("labels")).mean()
        yield from check_all(arrays, outputs, NETWORK)
        if "logits_f64" in arrays:
            yield compare_array("logits_f64", model.double()(text.double()), arrays["logits_f64"], DOUBLE)
    yield from arrays.unread()


def _estimator(case: Case) -> LengthEstimator:
    """A stored estimator of fitting shape, else a filled one (the README of the vectors: by the hash rule)."""
    arrays, found = case.arrays, {}
    sizes = (arrays["text_emb"].shape[-1], arrays["logits"].shape[-1])
    for path in [] if case.filled else sorted((case.folder.parent / "checkpoints").glob("*/*/model")):
        try:
            found[path.parent.name] = load_length(path.parent)[0]
        except CheckpointError:
            continue  # another part's folder

    def fits(model: LengthEstimator) -> bool:
        return sizes == (model.output[0].in_features, model.options.classes)

    if any(fits(model) for model in found.values()):
        text = arrays.tensor("text_emb")
        return pick(case.folder, found, fits, lambda m: deviation(m(text), arrays["logits"]))
    hidden = case.hyper_parameters().get("hidden", published.options(LengthOptions).hidden)
    model = LengthEstimator(sizes[0], published.options(LengthOptions, classes=sizes[1], hidden=tuple(hidden)))
    return fill_by_rule(model, case.filled or "hash")


def length(folder: Path) -> Iterator[Check]:
    """A case of the length estimator, and the manifest beside it."""
    case, strange = open_case(folder, "length")
    yield from strange
    yield from length_checks(case)
    path = folder / "manifest_full.json"
    if path.is_file():
        numbers = json.loads(path.read_text(encoding="utf-8"))["hyper_parameters"]
        with torch.device("meta"):
            options = LengthOptions(int(numbers["output_size"]), tuple(numbers["hidden"]), 0.2)
            yield from manifest(path, LengthEstimator(int(numbers["input_size"]), options).state_dict())


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"mtrans": mtrans, "length": length}
