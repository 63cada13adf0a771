"""What BAMM's transformer is asked in training, beside what MoMask asks its residual transformer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.bamm.corruption import Corrupted, corrupt, draw
from hmu.backbones.bamm.generation import with_end
from hmu.backbones.base import State, Target
from hmu.backbones.draws import Draws
from hmu.backbones.momask.objectives import active_layers, cross_entropy, drop_texts, known_layers, layer_ids
from hmu.data.batch import MotionBatch
from hmu.text.base import TextCondition

if TYPE_CHECKING:
    from hmu.backbones.bamm.model import Bamm

NEVER = -1e4  # logit of END in the residual layers, which have no such class; finite, so that differences stay numbers


def hide(model: Bamm, target: Target, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Corrupted]:
    """Ids ``(batch, tokens, quantizers)``, their mask, and the corrupted base tokens with one place more, for END."""
    ids, valid = model.token_ids(target)
    net, lengths = model.masked, target.lengths // model.unit_length
    answer = with_end(F.pad(ids[..., 0], (0, 1)), lengths, net.end_id)
    shape = (len(ids), ids.shape[1] + 1)
    return ids, valid, corrupt(answer, lengths, draw(shape, net.codes, net.options, generator, ids.device))


def state_of(model: Bamm, target: Target, generator: torch.Generator | None) -> State:
    """Training state where BAMM's transformer is treated; see :meth:`Bamm.corrupt`."""
    ids, valid, hidden = hide(model, target, generator)
    inputs = [hidden.ids[..., None], hidden.conditions.long()[..., None]]
    answers = [torch.where(hidden.valid, hidden.target, -1)]
    if "residual" in model.parts:
        draws = Draws(generator)
        layer = active_layers(draws.uniform((len(ids),), torch.zeros((), device=ids.device)), ids.shape[-1])
        inputs.append(F.pad(known_layers(ids, layer)[..., :-1], (0, 0, 0, 1), value=-1))
        answers.append(F.pad(layer_ids(ids, layer, valid), (0, 1), value=-1))
    shown = (hidden.conditions & hidden.valid).sum(1) / hidden.valid.sum(1)
    return State(torch.cat(inputs, -1), shown, torch.stack(answers, -1), hidden.valid)


def predict(model: Bamm, state: State, condition: TextCondition) -> Tensor:
    """Logits ``(batch, places, parts, codes + 1)``; see :meth:`Bamm.predict`."""
    text, inputs = model.vectors(condition), state.inputs
    text = text.expand(len(inputs), -1) if len(text) == 1 else text
    logits = [model.masked(inputs[..., 0], text, inputs[..., 1].bool())[:, :-1]]
    if "residual" in model.parts:
        known = inputs[..., 2:]
        valid = (known[..., 0] >= 0) & state.valid
        answer = model.residual(model.residual.history(known), (known[:, 0] >= 0).sum(-1), text, valid)
        logits.append(F.pad(answer, (0, 1), value=NEVER))
    return torch.stack(logits, 2)


def masked_loss(model: Bamm, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Cross-entropy of every token and END, averaged per clip and then over clips, under condition dropout."""
    _, _, hidden = hide(model, model.encode_target(batch), generator)
    text = drop_texts(model.vectors(batch.texts), model.masked.options.cond_drop, Draws(generator))
    logits = model.masked(hidden.ids, text, hidden.conditions)[:, :-1]
    return masked_terms(logits, hidden)


def masked_terms(logits: Tensor, hidden: Corrupted) -> dict[str, Tensor]:
    """``loss`` and ``accuracy`` of logits ``(batch, places, codes + 1)``."""
    values = cross_entropy(logits, torch.where(hidden.valid, hidden.target, -1))
    right = (logits.detach().argmax(-1) == hidden.target)[hidden.valid]
    return {"loss": (values.sum(1) / hidden.valid.sum(1)).mean(), "accuracy": right.float().mean()}
