"""From prompts to motions with BAMM, and editing of given motions: base tokens, residual tokens, decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.bamm.generation import draw_noise, generate_ids, refine_pass, with_end
from hmu.backbones.bamm.options import SamplingOptions
from hmu.backbones.modes import evaluating
from hmu.backbones.momask.generation import decode, scales, token_spans
from hmu.backbones.momask.options import require
from hmu.backbones.momask.sampling import ClipStreams, TopDraw, decode_residual
from hmu.data.batch import MotionBatch, length_mask
from hmu.text.base import TextCondition

if TYPE_CHECKING:
    from hmu.backbones.bamm.model import Bamm

Prompts = TextCondition | Sequence[str]


def parts_of(model: Bamm) -> list[nn.Module]:
    """What takes part in generation."""
    return [part for part in (model.rvq, model.generator, model.text) if part is not None]


def tokens_of(model: Bamm, lengths: Tensor) -> Tensor:
    """Frames to tokens ``(batch,)``.

    Raises:
        ConfigError: for lengths that are no positive multiples of 4, or longer than the transformer reads.
    """
    unit, most = model.unit_length, model.masked.options.max_tokens
    lengths = torch.as_tensor(lengths, device=model.device)
    good = bool(((lengths > 0) & (lengths % unit == 0) & (lengths <= most * unit)).all())
    require(good, f"lengths {lengths.tolist()}: expected multiples of {unit} frames from {unit} to {most * unit}")
    return lengths // unit


def match(text: Tensor, clips: int) -> Tensor:
    """Text vectors ``(clips, width)``; one prompt stands for all clips.

    Raises:
        ConfigError: for another number of prompts.
    """
    text = text.expand(clips, -1) if len(text) == 1 else text
    require(len(text) == clips, f"{len(text)} prompts, {clips} lengths: expected one length per prompt")
    return text


def passes_of(steps: int | None, key: str = "steps") -> int:
    """BAMM's steps are its passes: 2, or 1 without the refining one.

    Raises:
        ConfigError: for any other number.
    """
    require(steps in (None, 1, 2), f"{key}={steps}: BAMM generates in passes, expected 1 (causal only), 2 or null")
    return 2 if steps is None else steps


def base_tokens(
    model: Bamm,
    text: Tensor,
    tokens: Tensor | None,
    options: SamplingOptions,
    guidance: float | None,
    generator: torch.Generator | None,
    passes: int,
) -> tuple[Tensor, Tensor, ClipStreams]:
    """Base ids ``(batch, tokens)``, tokens per clip ``(batch,)``, and the clips' random streams for what follows."""
    net, most = model.masked, model.masked.options.max_tokens
    known = torch.full((len(text),), most, device=model.device) if tokens is None else tokens
    streams, upstream = ClipStreams(known, generator), model.variant == "upstream"
    places = most if upstream else int(known.max())
    if guidance in (0, 1):
        options = replace(options, refine_guidance=float(guidance))
    if upstream:
        options = replace(options, ranking="tied")
    drawn = generate_ids(
        net, text, tokens, options, draw_noise(streams, places, net.codes + 1), guidance=guidance, passes=passes,
        earliest=0 if upstream else -(-model.min_frames // model.unit_length), upstream=upstream,
    )  # fmt: skip
    streams.lengths = drawn.lengths.tolist()
    return drawn.ids[:, : places + 1 if upstream else int(drawn.lengths.max())], drawn.lengths, streams


def generate(
    model: Bamm,
    condition: Prompts,
    lengths: Tensor | None,
    guidance: float | None,
    generator: torch.Generator | None,
    steps: int | None,
) -> tuple[Tensor, Tensor]:
    """See :meth:`Bamm.generate`."""
    with evaluating(*parts_of(model)):
        text, tokens = model.vectors(condition), None if lengths is None else tokens_of(model, lengths)
        text = text if tokens is None else match(text, len(tokens))
        base, tokens, streams = base_tokens(model, text, tokens, model.sampling, guidance, generator, passes_of(steps))
        ids = residual_tokens(model, base, text, tokens, guidance, streams)
        frames = tokens * model.unit_length
        return decode(model, ids, frames, generator)[:, : int(frames.max())], frames


def residual_tokens(
    model: Bamm,
    base: Tensor,
    text: Tensor,
    tokens: Tensor,
    guidance: float | None,
    streams: ClipStreams,
    known: Tensor | None = None,
    editable: Tensor | None = None,
) -> Tensor:
    """Ids of all layers ``(batch, tokens, quantizers)``; with ``known`` only the ``editable`` ones are drawn."""
    options, upstream = model.sampling, model.variant == "upstream"
    return decode_residual(
        model.residual, base, text, length_mask(tokens, base.shape[1]),
        TopDraw(options.residual_thres, options.residual_temperature, streams),
        scale=scales(model, guidance)[1], layers=options.residual_layers, padding=upstream,
        kept=None if upstream else known, editable=editable,
    )  # fmt: skip


def inpaint(
    model: Bamm,
    motion: Tensor,
    lengths: Tensor,
    edit: Tensor | Sequence[tuple[int, int]],
    condition: Prompts,
    guidance: float | None,
    generator: torch.Generator | None,
) -> Tensor:
    """See :meth:`Bamm.inpaint`."""
    with evaluating(*parts_of(model)):
        tokens, net, upstream = tokens_of(model, lengths), model.masked, model.variant == "upstream"
        text = match(model.vectors(condition), len(tokens))
        frames, options = tokens * model.unit_length, model.sampling
        longest = int(frames.max())
        require(longest <= motion.shape[1], f"lengths reach {longest} frames, the motions have {motion.shape[1]}")
        batch = MotionBatch(motion[:, :longest].to(model.device), frames, (), ())
        known = model.encode_target(batch).tensors["ids"]
        editable = token_spans(edit, frames, model.unit_length, model.device)
        shown = length_mask(tokens + 1, known.shape[1] + 1) & ~F.pad(editable, (0, 1))
        start = with_end(F.pad(known[..., 0].clamp_min(0), (0, 1)), tokens, net.end_id)
        streams = ClipStreams(tokens, generator)
        noise = draw_noise(streams, known.shape[1], net.codes).second
        wanted = options.refine_guidance if guidance is None else float(guidance)
        scale = 0.0 if upstream else options.guidance if wanted is None else wanted
        drawn = refine_pass(
            net, start, shown, text, places=known.shape[1], scale=scale, noise=noise, temperature=options.temperature
        )
        ids = residual_tokens(model, drawn.ids[:, :-1], text, tokens, guidance, streams, known, editable)
        return decode(model, ids, frames, generator)
