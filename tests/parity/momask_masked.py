"""MoMask's masked transformer and length estimator against the authors' code: logits, training, decoding, editing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.draws import gumbel
from hmu.backbones.momask import objectives
from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.options import LengthOptions
from hmu.backbones.momask.sampling import decode_base
from hmu.backbones.tokens.encoder import to_authors
from hmu.backbones.tokens.options import TransformerOptions
from hmu.backbones.tokens.sampling import Chooser, kept_classes
from tests.parity.case import Case, Table, manifest, published, read_json, strange
from tests.parity.checks import Check, deviation, exact, match, nearest, unchecked, wrong
from tests.parity.momask_models import (
    NETWORK,
    STEPS,
    Settings,
    gradients,
    guesses,
    length_estimators,
    masked_transformers,
    padding_check,
    pick,
    sizes,
    valid,
)
from tests.published import options as published_options


# -- masked transformer ------------------------------------------------------------------------------------------------
def _logits(case: Case, model: MaskedTransformer, scale: float) -> Tensor:
    ids = case["tf_ids"]
    return model.guided(ids, case["cond"], scale, valid(case, ids.shape[1])).transpose(1, 2)


MTRANS_ROWS: Table = {
    "logits": lambda case, model: _logits(case, model, 1.0),
    "logits_(?:uncond|force_mask)": lambda case, model: _logits(case, model, 0.0),
    r"logits_scale([\d.]+)": lambda case, model, scale: _logits(case, model, float(scale)),
}


def mtrans_checks(case: Case) -> Iterator[Check]:
    """Logits, the training loss and every recorded generation."""
    runs = case.groups("(gen|edit)_.+")
    classes = case.raw("logits").shape[1] if "logits" in case else case.raw(_of_steps(case)).shape[1]
    width = case.last("cond", *(f"{run}/cond" for run in runs))

    def error(model: MaskedTransformer) -> float:
        return deviation(_logits(case, model, 1.0), case.raw("logits")) if "logits" in case else 0.0

    def fresh() -> Iterator[MaskedTransformer]:
        numbers = published(case.folder, "mtrans")
        yield MaskedTransformer(
            classes,
            int(numbers.get("code_dim", 512)),
            width or 512,
            published_options(TransformerOptions, **sizes(numbers)),
        )

    with torch.no_grad():
        stored = masked_transformers(case.folder)
        model = pick(case, stored, lambda m: (m.codes, m.cond_emb.in_features) == (classes, width), error, fresh)
        yield from case.table(model, MTRANS_ROWS, NETWORK)
    yield from _inputs(model, case)
    if "train/labels" in case:
        yield from _training(case, model)
    with torch.no_grad():
        for run in runs:
            yield from _decoding(model, case, run)
    yield from case.unread()


def _of_steps(case: Case) -> str:
    return next(found[0] for found in case.find(r".+/step\d+_logits|train/logits"))


def _inputs(model: MaskedTransformer, case: Case) -> Iterator[Check]:
    """The stored inputs agree with each other: lengths, padding and special ids."""
    if "ids" in case:
        yield from padding_check(case, case["ids"].shape[1])
    if "ids" in case and "tf_ids" in case:
        ids, shown = case["ids"], case["tf_ids"]
        yield exact("tf_ids of ids", bool(((shown == ids) | (shown >= model.codes)).all()), True)


def _training(case: Case, model: MaskedTransformer) -> Iterator[Check]:
    ids, part = case["ids"], case.under("train/")
    real = valid(case, ids.shape[1])
    chosen = objectives.chosen_positions(part["rand_time"], part["perm_uniform"], real, "upstream")
    draws = objectives.MaskDraws(part["mask_random"], part["rand_id"], part["mask_token"])
    inputs = objectives.masked_inputs(model, ids, real, chosen, draws)
    model.zero_grad()
    text = part["cond"] if "cond" in part else case["cond"]
    logits = model(inputs, text, real)
    loss = F.cross_entropy(logits[chosen], ids[chosen])
    loss.backward()
    guess = logits.argmax(-1)
    outputs = {
        "x_ids": inputs,
        "labels": torch.where(chosen, ids, model.mask_id),
        "logits": logits.transpose(1, 2),
        "loss": loss,
        "pred_id": guess,
        "acc": (guess[chosen] == ids[chosen]).double().mean(),
    }
    yield from part.given(outputs, NETWORK)
    yield from gradients(part, model)


def chooser(case: Case, run: str, settings: dict[str, Any], gumbel_noise: bool) -> Chooser:
    """Replays a run's noise; without stored noise the most likely class.

    Categorical noise is Exp(1) ``(batch * tokens, classes)`` and picks ``argmax p / e``; Gumbel noise is uniform
    ``(batch, tokens, classes)`` and picks ``argmax logit / temperature + g``.
    """
    thres, temperature = float(settings.get("topk_filter_thres", 0.9)), float(settings.get("temperature", 1.0))

    def choose(step: int, logits: Tensor) -> Tensor:
        name = f"{run}/noise{step}"
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


class Decoded:
    """One generation or editing run: the ids and logits of every step, and the result, under their stored names."""

    def __init__(self, model: MaskedTransformer, case: Case, run: str, settings: Settings) -> None:
        part, self.seen = case.under(f"{run}/"), dict[str, Tensor]()
        shape, spans, editing = part.raw("ids").shape, part.get("edit_mask"), "tokens" in part
        gumbel_noise = bool(settings.get("gsample", any(case.dims(m[0]) == 3 for m in case.find(rf"{run}/noise\d+"))))
        self.seen["ids"] = decode_base(
            model,
            part["tokens"] if editing else torch.zeros(shape, dtype=torch.long),
            part["cond"] if "cond" in part else case["cond"],
            valid(case, shape[1], f"{run}/"),
            chooser(case, run, settings, gumbel_noise),
            steps=int(settings.get("timesteps", len(part.find(r"step\d+_input_ids")) or STEPS[0])),
            scale=0.0 if settings.get("force_mask") else float(settings["cond_scale"]),
            editable=spans,
            free=editing and spans is None,
            variant="upstream",
            observe=self._observe,
        )
        self.stored = {name: value for name, value in self.seen.items() if name in part}

    def _observe(self, step: int, ids: Tensor, logits: Tensor) -> None:
        self.seen[f"step{step}_input_ids"], self.seen[f"step{step}_logits"] = ids, logits.transpose(1, 2)

    def error(self, part: Case, names: Iterable[str]) -> float:
        """How far stored arrays are from it: the largest share of wrong ids, or deviation of logits."""
        return max((wrong(self.stored[name], part.raw(name)) for name in names if name in self.stored), default=0.0)


def _decoding(model: MaskedTransformer, case: Case, run: str) -> Iterator[Check]:
    """One run compared. Where a clip has nothing to fill, what the authors' code does with it is by chance."""
    part, told = case.under(f"{run}/"), case.settings(run)
    shape, spans = part.raw("ids").shape, part.get("edit_mask")
    sampled = bool(part.find(r"noise\d+"))
    candidates = list(guesses(told, sampled, 4.0))
    if sampled and "step0_logits" in part and not told:  # they depend on the guidance alone
        first = nearest(guesses({}, False, 4.0), lambda s: Decoded(model, case, run, s).error(part, ["step0_logits"]))
        candidates = [each for each in candidates if each["cond_scale"] == (first or {})["cond_scale"]]
    if not part.find(r"step\d+_input_ids") and not told:
        candidates = [{**each, "timesteps": steps} for each in candidates for steps in STEPS]

    def error(settings: Settings) -> float:
        decoded = Decoded(model, case, run, settings)
        return decoded.error(part, decoded.stored)

    settings = nearest(candidates, error)
    assert settings is not None
    stored = Decoded(model, case, run, settings).stored
    real = valid(case, shape[1], f"{run}/")
    rows = torch.ones(shape[0], dtype=torch.bool) if spans is None else (spans & real).any(1)
    for row in torch.where(~rows)[0].tolist():
        rows[row] = all(match("", v[row], part.raw(n)[row], NETWORK).passed for n, v in stored.items())
    for name, value in stored.items():
        yield match(part.at + name, value[rows], part.raw(name)[rows.numpy()], NETWORK)
    if not bool(rows.all()):
        yield unchecked(f"{run} clips {torch.where(~rows)[0].tolist()}", "nothing to fill")


def mtrans(folder: Path) -> Iterator[Check]:
    """A case of the masked transformer, and the manifest beside it."""
    yield from strange(folder, ".npz", ".json")
    yield from mtrans_checks(Case.read(folder, "mtrans"))
    if (path := folder / "manifest_full.json").is_file():
        numbers = read_json(path)["hyper_parameters"]
        codes, width, text = (int(numbers.get(key, 512)) for key in ("num_tokens", "code_dim", "clip_dim"))
        with torch.device("meta"):
            state = MaskedTransformer(
                codes, width, text, published_options(TransformerOptions, **sizes(numbers))
            ).state_dict()
        yield from manifest(path, to_authors(state))


# -- length estimator --------------------------------------------------------------------------------------------------
LENGTH_ROWS: Table = {
    "logits": lambda case, model: model(case["text_emb"]),
    "probs": lambda case, model: model(case["text_emb"]).softmax(-1),
    "argmax": lambda case, model: model(case["text_emb"]).argmax(-1),
    "loss": lambda case, model: F.cross_entropy(model(case["text_emb"]), case["labels"]),
}


def length_checks(case: Case) -> Iterator[Check]:
    """Logits, probabilities and loss."""
    shape = (case.last("text_emb") or 0, case.last("logits") or 0)

    def fits(model: LengthEstimator) -> bool:
        return shape == (model.output[0].in_features, model.options.classes)  # type: ignore[comparison-overlap]

    def fresh() -> Iterator[LengthEstimator]:
        hidden = published(case.folder, "length").get("hidden", (512, 256, 128))
        yield LengthEstimator(shape[0], published_options(LengthOptions, classes=shape[1], hidden=tuple(hidden)))

    with torch.no_grad():
        stored = length_estimators(case.folder)
        model = pick(case, stored, fits, lambda m: deviation(m(case["text_emb"]), case.raw("logits")), fresh)
        yield from case.table(model, LENGTH_ROWS, NETWORK)
    yield from case.unread()


def length(folder: Path) -> Iterator[Check]:
    """A case of the length estimator, and the manifest beside it."""
    yield from strange(folder, ".npz", ".json")
    yield from length_checks(Case.read(folder, "length"))
    if (path := folder / "manifest_full.json").is_file():
        numbers = read_json(path)["hyper_parameters"]
        with torch.device("meta"):
            options = published_options(
                LengthOptions, classes=int(numbers["output_size"]), hidden=tuple(numbers["hidden"])
            )
            yield from manifest(path, LengthEstimator(int(numbers["input_size"]), options).state_dict())


KINDS: dict[str, Callable[[Path], Iterator[Check]]] = {"mtrans": mtrans, "length": length}
