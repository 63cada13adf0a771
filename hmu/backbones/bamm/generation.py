"""Generating BAMM's base tokens: a causal pass that also finds the end, then a pass that renews the doubtful half.

Both passes read one place per step and remember keys and values, so a step costs one place and not the whole sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hmu.backbones.bamm.options import SamplingOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.tokens.encoder import combine_branches, guidance_branches, key_mask, repeat_rows
from hmu.backbones.tokens.sampling import ClipStreams
from hmu.data.batch import length_mask


@dataclass(frozen=True)
class Drawn:
    """Tokens of one pass ``(batch, places)``, and the probability that each had when it was drawn."""

    ids: Tensor
    probabilities: Tensor


@dataclass(frozen=True)
class Noise:
    """What a generation draws.

    Attributes:
        first, second: Exp(1) noise of the two passes, ``(batch, places, classes)``; None = the most likely token.
        scores: order of the tokens under a random ranking, ``(batch, places)``.
    """

    first: Tensor | None = None
    second: Tensor | None = None
    scores: Tensor | None = None


def draw_noise(streams: ClipStreams, places: int, classes: int) -> Noise:
    """Noise for ``places`` tokens of both passes; every clip draws from its own stream, for its own length."""
    first, second = (-torch.log(streams.uniform(places, classes)) for _ in range(2))
    return Noise(first, second, streams.uniform(places, 1)[..., 0])


def pick(logits: Tensor, noise: Tensor | None, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """One class per row of ``logits`` ``(batch, classes)``: ids and their probabilities at temperature 1, ``(batch,)``.

    ``argmax p / e`` with Exp(1) noise ``e`` is a draw from ``p``; without noise the most likely class.
    """
    probabilities = logits.softmax(-1)
    if noise is None or temperature == 0:
        ids = probabilities.argmax(-1)
    else:
        scaled = probabilities if temperature == 1 else (logits / temperature).softmax(-1)
        ids = (scaled / noise[:, : logits.shape[-1]]).argmax(-1)
    return ids, probabilities.gather(1, ids[:, None])[:, 0]


class Reader:
    """Reads at most ``places`` tokens one by one under guidance ``scale``; both branches share every forward."""

    def __init__(self, net: BidirectionalTransformer, text: Tensor, scale: float, places: int) -> None:
        self.net, self.scale, self.batch = net, scale, len(text)
        self.text, self.table = guidance_branches(text, scale), net.table()
        self.memories = net.memories(len(self.text), places + 1)

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        return repeat_rows(self.net.embed_tokens(ids, start, self.table), len(self.text))

    def show(self, ids: Tensor, known: Tensor) -> None:
        """Read the text and the known tokens of ``ids`` ``(batch, places)`` ahead of everything else."""
        x = torch.cat([self.net.embed_text(self.text), self._embed(ids, 1)], 1)
        mask = key_mask(known, 1)
        self.net.read(x, self.memories, 0, None if mask is None else repeat_rows(mask, len(self.text)))

    def next(self, place: int, last: Tensor | None, attend: Tensor | None = None) -> Tensor:
        """Logits ``(batch, classes)`` of token ``place``, after the token before it ``(batch,)`` (None: the text).

        ``attend``: ``(batch, places + 1)``, True where the new place may look; None = at everything so far.
        """
        x = self.net.embed_text(self.text) if last is None else self._embed(last[:, None], place)
        mask = None if attend is None else repeat_rows(attend, len(self.text))[:, None, None, :]
        hidden = self.net.output_process.features(self.net.read(x, self.memories, place, mask)[:, 0])
        return self.net.output_process.poseFinal(combine_branches(hidden, self.batch, self.scale))


def causal_pass(
    net: BidirectionalTransformer,
    text: Tensor,
    places: int,
    *,
    scale: float,
    noise: Tensor | None = None,
    may_end: bool = True,
    earliest: int = 0,
    leftovers: bool = False,
    temperature: float = 1.0,
) -> Drawn:
    """Draw ``places`` tokens from left to right.

    Args:
        net, text: the transformer and one vector per clip ``(batch, text_width)``.
        places: how many tokens. scale: guidance.
        noise: ``(batch, places, classes)``, see :func:`pick`.
        may_end: whether END may be drawn, but not before token ``earliest``.
        leftovers: go on until every place is filled, even if all clips have ended.
        temperature: see :func:`pick`.
    """
    reader = Reader(net, text, scale, places)
    ids = torch.full((len(text), places), net.end_id, device=text.device)
    sure = torch.ones(ids.shape, dtype=text.dtype, device=text.device)
    ended = torch.zeros(len(text), dtype=torch.bool, device=text.device)
    for place in range(places):
        logits = reader.next(place, None if place == 0 else ids[:, place - 1])
        if not may_end or place < earliest:
            logits = logits[:, : net.codes]
        ids[:, place], sure[:, place] = pick(logits, None if noise is None else noise[:, place], temperature)
        ended |= ids[:, place] == net.end_id
        if not leftovers and bool(ended.all()):
            break
    return Drawn(ids, sure)


def refine_pass(
    net: BidirectionalTransformer,
    ids: Tensor,
    known: Tensor,
    text: Tensor,
    *,
    places: int,
    scale: float,
    noise: Tensor | None = None,
    hold: bool = True,
    temperature: float = 1.0,
) -> Drawn:
    """Draw the tokens that are not ``known`` again, from left to right, with the known ones in sight. No END is drawn.

    Args:
        net, text: as in :func:`causal_pass`.
        ids: ``(batch, all places)``; only known ones are read.
        known: True at tokens that stay ``(batch, all places)``.
        places: the first so many places are drawn.
        scale, noise, temperature: as in :func:`causal_pass`.
        hold: keep known tokens in place. False is what the authors' generation does: a known token is overwritten by a
            draw when its turn comes, which the tokens after it see, and put back only at the very end (by the caller).
    """
    ids, sure = ids.clone(), torch.ones(ids.shape, dtype=text.dtype, device=text.device)
    if hold:
        visible = F.pad(known, (1, 0), value=True)
        reader = Reader(net, text, scale, ids.shape[1])
        reader.show(ids, known)
        columns = torch.arange(visible.shape[1], device=visible.device)[None]
    for place in range(places):
        if hold:
            attend = visible | ((columns <= place) & ~visible[:, place, None])
            logits = reader.next(place, None if place == 0 else ids[:, place - 1], attend)
        else:
            logits = net.guided(ids, text, scale, known)[:, place]
        drawn, chance = pick(logits[:, : net.codes], None if noise is None else noise[:, place], temperature)
        sure[:, place] = chance
        ids[:, place] = torch.where(known[:, place], ids[:, place], drawn) if hold else drawn
    return Drawn(ids, sure)


def find_end(ids: Tensor, end_id: int) -> Tensor:
    """Tokens before the first END ``(batch,)``, at least 1; all of ``ids`` ``(batch, places)`` where there is none."""
    ended = ids >= end_id
    return torch.where(ended.any(1), ended.int().argmax(1), ids.shape[1]).clamp(min=1)


def with_end(ids: Tensor, lengths: Tensor, end_id: int) -> Tensor:
    """``ids`` ``(batch, places)`` with END at place ``lengths`` and pad after it."""
    place = torch.arange(ids.shape[1], device=ids.device)[None]
    beyond = torch.where(place == lengths[:, None], end_id, end_id + 1)
    return torch.where(place < lengths[:, None], ids, beyond)


def renewed(lengths: Tensor, scores: Tensor, share: float) -> Tensor:
    """True at the tokens to draw again: the lowest ``round(share * length)`` scores of each clip, at least one.

    ``scores`` ``(batch, places)``; equal ones are taken from left to right. ``round`` is to even, as published.
    """
    scores = scores.masked_fill(~length_mask(lengths, scores.shape[1]), float("inf"))
    ranks = scores.argsort(dim=1, stable=True).argsort(1)
    return ranks < (lengths * share).round().clamp(min=1)[:, None]


def renewed_tied(lengths: Tensor, places: int, share: float) -> Tensor:
    """As :func:`renewed` ``(batch, places)``, by the authors' scores: 0 for every token of a clip, 1e5 for padding.

    What is chosen depends on how this machine sorts equal numbers: the first half of the tokens would be expected, and
    on CPUs with vector instructions it is mostly the second.
    """
    scores = torch.where(length_mask(lengths, places), 0.0, 1e5)
    return scores.argsort(1).argsort(1) < (lengths * share).round().clamp(min=1)[:, None]


def to_renew(options: SamplingOptions, first: Drawn, lengths: Tensor, scores: Tensor | None) -> Tensor:
    """True at the tokens of the second pass ``(batch, places + 1)``; ``scores`` are those of a random ranking."""
    places = first.ids.shape[1]
    if options.ranking == "tied":
        return renewed_tied(lengths, places + 1, options.refine_share)
    scores = first.probabilities if options.ranking == "confidence" or scores is None else scores[:, :places]
    return renewed(lengths, F.pad(scores, (0, 1)), options.refine_share)


class Generated(NamedTuple):
    """Tokens ``(batch, places + 1)``, END at place ``lengths`` ``(batch,)``; what lies beyond has no meaning."""

    ids: Tensor
    lengths: Tensor


def generate_ids(
    net: BidirectionalTransformer,
    text: Tensor,
    lengths: Tensor | None,
    options: SamplingOptions,
    noise: Noise,
    *,
    guidance: float | None = None,
    passes: int = 2,
    earliest: int = 0,
    upstream: bool = False,
) -> Generated:
    """Base tokens of a batch.

    Args:
        net, text: the transformer and one vector per clip ``(batch, text_width)``.
        lengths: tokens per clip ``(batch,)``; None = the model ends each clip itself.
        options: scales, ranking, temperature.
        noise: of both passes, see :func:`draw_noise`.
        guidance: of the causal pass; None = ``options.guidance``.
        passes: 1 leaves out the second.
        earliest: fewest tokens of a clip that the model ends.
        upstream: the authors' order of things: always the longest clip, known tokens overwritten on the way.
    """
    places = net.options.max_tokens if lengths is None or upstream else int(lengths.max())
    scale = options.guidance if guidance is None else guidance
    first = causal_pass(
        net, text, places, scale=scale, noise=noise.first, may_end=lengths is None, earliest=earliest,
        leftovers=upstream, temperature=options.temperature,
    )  # fmt: skip
    ends = find_end(first.ids, net.end_id) if lengths is None else lengths
    ids = F.pad(first.ids, (0, 1), value=net.pad_id)
    ids[:, 0] = torch.where(ids[:, 0] >= net.end_id, 0, ids[:, 0])
    ids = with_end(ids, ends, net.end_id)
    if passes < 2 or options.refine_share == 0:
        return Generated(ids, ends)
    known = length_mask(ends + 1, places + 1) & ~to_renew(options, first, ends, noise.scores)
    second = refine_pass(
        net, ids, known, text, places=places if upstream else int(ends.max()), noise=noise.second, hold=not upstream,
        scale=scale if options.refine_guidance is None else options.refine_guidance, temperature=options.temperature,
    )  # fmt: skip
    return Generated(torch.where(known, ids, second.ids), ends)
