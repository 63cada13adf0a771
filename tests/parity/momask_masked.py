"""MoMask's masked transformer and length estimator against the authors' code: logits, training, decoding, editing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.draws import gumbel
from hmu.backbones.momask import masked
from hmu.backbones.momask.authors import load_length, load_masked
from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer, decode_base
from hmu.backbones.momask.options import LengthOptions
from hmu.backbones.tokens.options import TransformerOptions
from hmu.backbones.tokens.sampling import Chooser, kept_classes
from tests.authors_names import to_authors
from tests.parity.case import Case, Table
from tests.parity.checks import Checks, deviation, exact, match, nearest, unchecked
from tests.parity.kinds import compares
from tests.parity.manifests import manifest_checks, published
from tests.parity.momask_models import (
    NETWORK,
    STEPS,
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

FREE_SHARE = 0.16  # of the positions


# -- masked transformer ------------------------------------------------------------------------------------------------
def fresh(numbers: Mapping[str, Any]) -> MaskedTransformer:
    """A transformer of a manifest's hyper-parameters; what it does not tell is as published."""
    return MaskedTransformer(*widths(numbers), published_options(TransformerOptions, **sizes(numbers)))


def _logits(case: Case, model: MaskedTransformer, scale: float) -> Tensor:
    ids = case["tf_ids"]
    return model.guided(ids, case["cond"], scale, valid(case, ids.shape[1])).transpose(1, 2)


MTRANS_ROWS: Table = {
    "logits": lambda case, model: _logits(case, model, 1.0),
    "logits_(?:uncond|force_mask)": lambda case, model: _logits(case, model, 0.0),
    r"logits_scale([\d.]+)": lambda case, model, scale: _logits(case, model, float(scale)),
}


def mtrans_checks(case: Case) -> Checks:
    """Logits, the training loss and every recorded generation."""
    runs = case.groups("(gen|edit)_.+")
    steps = case.find(r".+/step\d+_logits|train/logits")
    classes = case.raw("logits" if "logits" in case else steps[0][0]).shape[1]
    width = case.last("cond", *(f"{run}/cond" for run in runs))

    def error(model: MaskedTransformer) -> float:
        return case.off(model, MTRANS_ROWS, "logits") if "logits" in case else 0.0

    def sized() -> Iterator[MaskedTransformer]:
        yield fresh(published(case.folder, "mtrans") | {"num_tokens": classes, "clip_dim": width})

    candidates = stored(case.folder, load_masked)
    model = pick(case, candidates, lambda m: (m.codes, m.cond_emb.in_features) == (classes, width), error, sized)
    yield from case.table(model, MTRANS_ROWS, NETWORK)
    if "ids" in case:  # the stored inputs agree with each other
        yield from padding_check(case, case["ids"].shape[1])
    if "ids" in case and "tf_ids" in case:
        ids, inputs = case["ids"], case["tf_ids"]
        yield exact("tf_ids of ids", bool(((inputs == ids) | (inputs >= model.codes)).all()), True)
    if "train/labels" in case:
        yield from _training(case, model)
    for run in runs:
        yield from _decoding(model, case, run)


@torch.enable_grad()
def _training(case: Case, model: MaskedTransformer) -> Checks:
    ids, part = case["ids"], case.under("train/")
    real = valid(case, ids.shape[1])
    hidden = masked.chosen_positions(part["rand_time"], part["perm_uniform"], real, "upstream")
    draws = masked.MaskDraws(part["mask_random"], part["rand_id"], part["mask_token"])
    inputs = masked.masked_inputs(model, ids, real, hidden, draws)
    logits = model(inputs, part["cond"] if "cond" in part else case["cond"], real)
    loss = F.cross_entropy(logits[hidden], ids[hidden])
    accuracy = (logits.argmax(-1)[hidden] == ids[hidden]).double().mean()
    labels = torch.where(hidden, ids, model.mask_id)
    yield from trained(part, model, logits, loss, accuracy, x_ids=inputs, labels=labels)


def chooser(case: Case, run: str, settings: Settings, gumbel_noise: bool) -> Chooser:
    """Replays a run's noise; without stored noise the most likely class.

    Categorical noise is Exp(1) ``(batch * tokens, classes)`` and picks ``argmax p / e``; Gumbel noise is uniform
    ``(batch, tokens, classes)`` and picks ``argmax logit / temperature + g``.
    """
    thres, temperature = float(settings.get("topk_filter_thres", 0.9)), float(settings.get("temperature", 1.0))

    steps = count()

    def choose(logits: Tensor) -> Tensor:
        name = f"{run}/noise{next(steps)}"
        values, classes = logits.topk(kept_classes(logits.shape[-1], thres), -1)
        if name not in case:
            return classes[..., 0]
        noise = case[name].to(logits.dtype).view(logits.shape).gather(-1, classes)
        if gumbel_noise:
            picked = (values / temperature + gumbel(noise)).argmax(-1, keepdim=True)
        else:
            picked = ((values / temperature).softmax(-1) / noise).argmax(-1, keepdim=True)
        return classes.gather(-1, picked)[..., 0]

    return choose


def edit_freely(
    net: MaskedTransformer, ids: Tensor, text: Tensor, valid: Tensor, choose: Chooser, steps: int, scale: float
) -> Tensor:
    """The authors' editing without spans, which hmu does not offer: every step draws 16 % of the positions anew."""
    table, number = net.table(), torch.round(FREE_SHARE * valid.sum(1)).clamp(min=1)
    ids, scores = torch.where(valid, ids.clamp_min(0), net.pad_id), torch.zeros(ids.shape, dtype=text.dtype)
    for _ in range(steps):
        order = torch.where(valid, scores, masked.KEPT).argsort(dim=1, stable=True)
        again = order.argsort(1) < number[:, None]
        logits = net.guided(torch.where(again, net.mask_id, ids), text, scale, valid, table)
        drawn = choose(logits)
        ids = torch.where(again, drawn, ids)
        scores = logits.softmax(-1).gather(-1, drawn[..., None])[..., 0]
    return torch.where(valid, ids, -1)


class Decoded:
    """One generation or editing run: the ids and logits of every step, and the result, under their stored names."""

    def __init__(self, model: MaskedTransformer, case: Case, run: str, settings: Settings) -> None:
        part, outputs = case.under(f"{run}/"), dict[str, Tensor]()
        shape, spans, editing = part.raw("ids").shape, part.get("edit_mask"), "tokens" in part
        gumbel_noise = bool(settings.get("gsample", any(case.dims(m[0]) == 3 for m in case.find(rf"{run}/noise\d+"))))
        ids = part["tokens"] if editing else torch.zeros(shape, dtype=torch.long)
        text = part["cond"] if "cond" in part else case["cond"]
        inputs = model, ids, text, valid(case, shape[1], f"{run}/"), chooser(case, run, settings, gumbel_noise)
        steps = int(settings.get("timesteps", len(part.find(r"step\d+_input_ids")) or STEPS[0]))
        scale = 0.0 if settings.get("force_mask") else float(settings["cond_scale"])
        guided, numbers = model.guided, count()

        def watched(ids: Tensor, *rest: Any) -> Tensor:
            logits, step = guided(ids, *rest), next(numbers)
            outputs[f"step{step}_input_ids"], outputs[f"step{step}_logits"] = ids, logits.transpose(1, 2)
            return logits

        with patch.object(model, "guided", watched):
            if editing and spans is None:
                outputs["ids"] = edit_freely(*inputs, steps, scale)
            else:
                outputs["ids"] = decode_base(*inputs, steps=steps, scale=scale, editable=spans, variant="upstream")
        self.outputs = {name: value for name, value in outputs.items() if name in part}

    def error(self, part: Case, names: Iterable[str] = ()) -> float:
        """How far stored arrays (all, or those of ``names``) are from it: the largest deviation."""
        outputs = {name: value for name, value in self.outputs.items() if name in (names or self.outputs)}
        return max((deviation(value, part.raw(name)) for name, value in outputs.items()), default=0.0)


def _decoding(model: MaskedTransformer, case: Case, run: str) -> Checks:
    """One run compared. Where a clip has nothing to fill, what the authors' code does with it is by chance."""
    part, recorded = case.under(f"{run}/"), case.settings(run)
    shape, spans = part.raw("ids").shape, part.get("edit_mask")
    sampled = bool(part.find(r"noise\d+"))
    candidates = list(guesses(recorded, sampled, 4.0))
    if sampled and "step0_logits" in part and not recorded:  # they depend on the guidance alone
        first = nearest(guesses({}, False, 4.0), lambda s: Decoded(model, case, run, s).error(part, ["step0_logits"]))
        candidates = [each for each in candidates if each["cond_scale"] == first["cond_scale"]]
    if not part.find(r"step\d+_input_ids") and not recorded:
        candidates = [{**each, "timesteps": steps} for each in candidates for steps in STEPS]
    settings = nearest(candidates, lambda settings: Decoded(model, case, run, settings).error(part))
    outputs = Decoded(model, case, run, settings).outputs
    real = valid(case, shape[1], f"{run}/")
    rows = torch.ones(shape[0], dtype=torch.bool) if spans is None else (spans & real).any(1)
    for row in torch.where(~rows)[0].tolist():
        rows[row] = all(match("", v[row], part.raw(n)[row], NETWORK).passed for n, v in outputs.items())
    for name, value in outputs.items():
        yield match(part.at + name, value[rows], part.raw(name)[rows.numpy()], NETWORK)
    if not bool(rows.all()):
        yield unchecked(f"{run} clips {torch.where(~rows)[0].tolist()}", "nothing to fill")


@compares("mtrans")
def mtrans(case: Case) -> Checks:
    """A case of the masked transformer, and the manifest beside it."""
    yield from mtrans_checks(case)
    yield from manifest_checks(case, fresh, to_authors)


# -- length estimator --------------------------------------------------------------------------------------------------
LENGTH_ROWS: Table = {
    "logits": lambda case, model: model(case["text_emb"]),
    "probs": lambda case, model: model(case["text_emb"]).softmax(-1),
    "argmax": lambda case, model: model(case["text_emb"]).argmax(-1),
    "loss": lambda case, model: F.cross_entropy(model(case["text_emb"]), case["labels"]),
}


def fresh_length(numbers: Mapping[str, Any]) -> LengthEstimator:
    """A length estimator of a manifest's hyper-parameters."""
    hidden = tuple(numbers.get("hidden", (512, 256, 128)))
    options = published_options(LengthOptions, classes=int(numbers["output_size"]), hidden=hidden)
    return LengthEstimator(int(numbers["input_size"]), options)


def length_checks(case: Case) -> Checks:
    """Logits, probabilities and loss."""
    shape = (case.last("text_emb") or 0, case.last("logits") or 0)

    def fits(model: LengthEstimator) -> bool:
        return shape == (model.output[0].in_features, model.options.classes)  # type: ignore[comparison-overlap]

    def sized() -> Iterator[LengthEstimator]:
        yield fresh_length(published(case.folder, "length") | {"input_size": shape[0], "output_size": shape[1]})

    candidates = stored(case.folder, load_length, "model/finest.tar")
    model = pick(case, candidates, fits, lambda model: case.off(model, LENGTH_ROWS, "logits"), sized)
    yield from case.table(model, LENGTH_ROWS, NETWORK)


@compares("length")
def length(case: Case) -> Checks:
    """A case of the length estimator, and the manifest beside it."""
    yield from length_checks(case)
    yield from manifest_checks(case, fresh_length, dict)
