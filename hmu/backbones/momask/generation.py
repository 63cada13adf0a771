"""From prompts to motions, and editing of given motions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hmu.backbones.modes import evaluating
from hmu.backbones.momask.options import require
from hmu.backbones.momask.sampling import ClipStreams, TopDraw, decode_base, decode_residual
from hmu.data.batch import MotionBatch, length_mask
from hmu.text.base import TextCondition

if TYPE_CHECKING:
    from hmu.backbones.momask.model import MoMask

Prompts = TextCondition | Sequence[str]


def _parts(model: MoMask) -> list[nn.Module]:
    return [part for part in (model.rvq, model.generator, model.text) if part is not None]


def _check(model: MoMask, condition: Prompts, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Text vectors and lengths, one of each per clip."""
    lengths = torch.as_tensor(lengths, device=model.device)
    good = bool(((lengths > 0) & (lengths % model.unit_length == 0)).all())
    require(good, f"lengths {lengths.tolist()}: expected positive multiples of {model.unit_length} frames")
    most = model.unit_length * min(part.options.positions for part in (model.masked, model.residual))
    require(int(lengths.max()) <= most, f"lengths {lengths.tolist()}: this model has positions for {most} frames")
    text = model.vectors(condition)
    text = text.expand(len(lengths), -1) if len(text) == 1 else text
    require(len(text) == len(lengths), f"{len(text)} prompts, {len(lengths)} lengths: expected one length per prompt")
    return text, lengths


def scales(model: MoMask, guidance: float | None) -> tuple[float, float]:
    """Guidance of the masked and of the residual transformer."""
    options = model.sampling
    if guidance is None:
        return options.guidance, options.residual_guidance
    return float(guidance), float(guidance) if guidance in (0, 1) else options.residual_guidance


def _tokens(
    model: MoMask,
    text: Tensor,
    tokens: Tensor,
    guidance: float | None,
    generator: torch.Generator | None,
    steps: int | None,
    known: Tensor | None = None,
    editable: Tensor | None = None,
) -> Tensor:
    """Ids ``(batch, tokens, layers)``; with ``known`` ids only the ``editable`` positions are generated."""
    options, valid = model.sampling, length_mask(tokens, int(tokens.max()))
    base_scale, residual_scale = scales(model, guidance)
    streams = ClipStreams(tokens, generator)
    start = torch.zeros_like(valid, dtype=torch.long) if known is None else known[..., 0]
    base = decode_base(
        model.masked,
        start,
        text,
        valid,
        TopDraw(options.thres, options.temperature, streams),
        steps=steps or options.steps,
        scale=base_scale,
        editable=editable,
        variant=model.variant,
    )
    return decode_residual(
        model.residual,
        base,
        text,
        valid,
        TopDraw(options.residual_thres, options.residual_temperature, streams),
        scale=residual_scale,
        layers=options.residual_layers,
        padding=model.variant == "upstream",
        kept=None if model.variant == "upstream" else known,
        editable=editable,
    )


def decode(model: MoMask, ids: Tensor, lengths: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Motions in real units of ids ``(batch, tokens, layers)``; zero beyond each length (frames)."""
    motion = model.rvq.decode(ids, lengths if model.variant == "default" else None, generator)
    return model.statistics.denormalise(motion, lengths)


def sample(
    model: MoMask,
    condition: Prompts,
    lengths: Tensor,
    guidance: float | None,
    generator: torch.Generator | None,
    steps: int | None,
) -> Tensor:
    """See :meth:`MoMask.sample`; the text is encoded once, and padded only to the longest clip."""
    with evaluating(*_parts(model)):
        text, lengths = _check(model, condition, lengths)
        ids = _tokens(model, text, lengths // model.unit_length, guidance, generator, steps)
        return decode(model, ids, lengths, generator)


def token_spans(edit: Tensor | Sequence[tuple[int, int]], lengths: Tensor, unit: int, device: torch.device) -> Tensor:
    """Tokens to generate anew ``(batch, tokens)``: every token of which a frame is marked."""
    frames = int(lengths.max())
    if isinstance(edit, Tensor):
        marked = edit.to(device=device, dtype=torch.bool)[:, :frames]
        require(
            marked.shape == (len(lengths), frames),
            f"edit has shape {tuple(edit.shape)}: expected one flag per frame, ({len(lengths)}, {frames})",
        )
    else:
        place, marked = torch.arange(frames, device=device), torch.zeros(frames, dtype=torch.bool, device=device)
        for start, stop in edit:
            require(0 <= start < stop, f"edit: span ({start}, {stop}) is no span of frames (start < stop)")
            marked = marked | ((place >= start) & (place < stop))
        marked = marked.expand(len(lengths), -1)
    return marked.view(len(lengths), -1, unit).any(-1)


def inpaint(
    model: MoMask,
    motion: Tensor,
    lengths: Tensor,
    edit: Tensor | Sequence[tuple[int, int]],
    condition: Prompts,
    guidance: float | None = None,
    generator: torch.Generator | None = None,
    steps: int | None = None,
) -> Tensor:
    """Generate the marked spans of given motions anew, under prompts; the other tokens stay in all layers.

    The frames outside the spans come out as the tokenizer reconstructs them. (The authors keep only the base layer
    outside the spans and draw all residual layers anew: ``variant: upstream``.)

    Args:
        model: the backbone.
        motion: real units ``(batch, frames, features)``.
        lengths: frames per clip, multiples of 4.
        edit: flags ``(batch, frames)``, True = generate, or spans ``[(first, one past last), …]`` in frames for all
            clips; spans grow to whole tokens.
        condition: one prompt per clip, or one for all.
        guidance, generator, steps: as for :meth:`MoMask.sample`.

    Returns:
        Motions in real units ``(batch, max(lengths), features)``, zero beyond each length.

    Raises:
        ConfigError: for impossible lengths or spans.
    """
    with evaluating(*_parts(model)):
        text, lengths = _check(model, condition, lengths)
        frames = int(lengths.max())
        require(frames <= motion.shape[1], f"lengths reach {frames} frames, the motions have {motion.shape[1]}")
        batch = MotionBatch(motion[:, :frames].to(model.device), lengths, (), ())
        known = model.encode_target(batch).tensors["ids"]
        editable = token_spans(edit, lengths, model.unit_length, model.device)
        ids = _tokens(model, text, lengths // model.unit_length, guidance, generator, steps, known, editable)
        return decode(model, ids, lengths, generator)
