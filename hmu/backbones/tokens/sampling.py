"""What generators of tokens draw with, and the decoding of residual codes layer by layer.

Each clip draws from a random stream of its own, so that a motion depends neither on the batch it is generated in nor on
the lengths of its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from hmu.backbones.draws import gumbel
from hmu.backbones.tokens.residual import ResidualTransformer

#: draws ids ``(batch, tokens)`` from logits ``(batch, tokens, classes)``
Chooser = Callable[[Tensor], Tensor]


def kept_classes(classes: int, thres: float) -> int:
    """How many of ``classes`` a draw may choose from: ``ceil((1 - thres) classes)``."""
    return max(1, math.ceil((1 - thres) * classes))


class ClipStreams:
    """A random stream for each clip of ``lengths`` tokens ``(batch,)``, seeded from one generator (None = torch's)."""

    def __init__(self, lengths: Tensor, generator: torch.Generator | None = None) -> None:
        where = torch.device("cpu") if generator is None else generator.device
        seeds = torch.randint(2**62, (len(lengths),), generator=generator, device=where).tolist()
        self.device, self.lengths = lengths.device, lengths.tolist()
        self.streams = [torch.Generator(where).manual_seed(seed) for seed in seeds]

    def uniform(self, tokens: int, classes: int) -> Tensor:
        """``(batch, tokens, classes)``; each clip draws for its own tokens only, the rest is 0.5."""
        drawn = torch.full((len(self.lengths), tokens, classes), 0.5, device=self.streams[0].device)
        for row, (length, stream) in enumerate(zip(self.lengths, self.streams, strict=True)):
            drawn[row, :length].uniform_(generator=stream)
        return drawn.to(self.device)


def top_draw(thres: float, temperature: float, streams: ClipStreams) -> Chooser:
    """Draws among the :func:`kept_classes`, at a temperature (Gumbel-max); temperature 0 takes the most likely one."""

    def draw(logits: Tensor) -> Tensor:
        if temperature == 0:
            return logits.argmax(-1)
        values, classes = logits.topk(kept_classes(logits.shape[-1], thres), -1)
        noise = gumbel(streams.uniform(*values.shape[1:])).to(values.dtype)
        return classes.gather(-1, (values / temperature + noise).argmax(-1, keepdim=True))[..., 0]

    return draw


def decode_residual(
    net: ResidualTransformer,
    base: Tensor,
    text: Tensor,
    valid: Tensor,
    choose: Chooser,
    *,
    scale: float,
    layers: int | None = None,
    padding: bool = False,
    kept: Tensor | None = None,
    editable: Tensor | None = None,
) -> Tensor:
    """Add the residual layers to base codes: ``(batch, tokens, 1 + layers)``, -1 at padding.

    Args:
        net: the residual transformer. base: ``(batch, tokens)``. text: vectors ``(batch, text width)``.
        valid: ``(batch, tokens)``, False at padding.
        choose: draws from the guided logits. scale: guidance. layers: how many; None = all.
        padding: as the authors, let the model answer "padding" inside a motion, which then decodes as a zero code.
        kept: ids ``(batch, tokens, quantizers)`` that stay where not ``editable``.
        editable: ``(batch, tokens)``; None = everything is generated.
    """
    ids = torch.where(valid, base, net.pad_id)
    layer_ids, history = [ids], torch.zeros((), device=base.device)
    for layer in range(1, net.quantizers if layers is None else layers + 1):
        history = history + torch.nn.functional.embedding(ids, net.embedding(layer - 1))
        drawn = choose(net.guided(history, layer, text, scale, valid, padding))
        if kept is not None and editable is not None:
            drawn = torch.where(editable, drawn, kept[..., layer])
        ids = torch.where(valid, drawn, net.pad_id)
        layer_ids.append(ids)
    stacked = torch.stack(layer_ids, -1)
    return torch.where(stacked == net.pad_id, -1, stacked)
