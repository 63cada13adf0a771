"""What BAMM's training hides: random tokens in the input, and tokens shown ahead of time (section 3.3 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hmu.backbones.bamm.options import BidirectionalOptions
from hmu.backbones.tokens.objectives import cross_entropy
from hmu.data.batch import length_mask


@dataclass(frozen=True)
class Hidden:
    """Draws of one training batch, ``(batch, places)`` each.

    Attributes:
        shown: True at places to show ahead of time.
        replaced: True at places whose input becomes random.
        random_ids: the ids that take their place.
    """

    shown: Tensor
    replaced: Tensor
    random_ids: Tensor


@dataclass(frozen=True)
class Corrupted:
    """A training input, ``(batch, places)`` each.

    Attributes:
        ids: tokens with random replacements; END and pad stay.
        conditions: True at places shown ahead of time (END may be one); a shown place may hold a random token.
        target: the true tokens, END and pad.
        valid: True at the tokens and END.
    """

    ids: Tensor
    conditions: Tensor
    target: Tensor
    valid: Tensor


def draw(
    shape: tuple[int, int],
    codes: int,
    options: BidirectionalOptions,
    generator: torch.Generator | None,
    device: torch.device,
) -> Hidden:
    """Rates per batch, then places: with ``condition_chance`` a rate up to ``condition_rate`` of tokens is shown."""
    where = device if generator is None else generator.device
    occurs, shown_rate, random_rate = torch.rand(3, generator=generator, device=where).tolist()
    shown_rate = shown_rate * options.condition_rate if occurs < options.condition_chance else 0.0
    uniform = torch.rand(2, *shape, generator=generator, device=where)
    random_ids = torch.randint(codes, shape, generator=generator, device=where)
    shown, replaced = uniform[0] < shown_rate, uniform[1] < random_rate * options.random_rate
    return Hidden(shown.to(device), replaced.to(device), random_ids.to(device))


def corrupt(target: Tensor, lengths: Tensor, hidden: Hidden) -> Corrupted:
    """Apply the draws to true tokens ``target`` ``(batch, places)`` whose END lies at place ``lengths``."""
    places = target.shape[1]
    valid = length_mask(lengths + 1, places)
    replaced = hidden.replaced & length_mask(lengths, places)
    return Corrupted(torch.where(replaced, hidden.random_ids, target), hidden.shown & valid, target, valid)


def masked_terms(logits: Tensor, hidden: Corrupted) -> dict[str, Tensor]:
    """``loss`` (per clip, then over clips) and ``accuracy`` of logits ``(batch, places, codes + 1)``."""
    values = cross_entropy(logits, torch.where(hidden.valid, hidden.target, -1))
    right = (logits.detach().argmax(-1) == hidden.target)[hidden.valid]
    return {"loss": (values.sum(1) / hidden.valid.sum(1)).mean(), "accuracy": right.float().mean()}
