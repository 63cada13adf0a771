"""From base tokens to motions, what may be edited in the networks, and spans of given motions to generate anew."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple

import torch
from torch import Tensor, nn

from hmu.backbones.modes import evaluating
from hmu.backbones.options import require
from hmu.backbones.tokens.base import M, Prompts, TokenBackbone
from hmu.backbones.tokens.encoder import SelfAttention
from hmu.backbones.tokens.sampling import ClipStreams, decode_residual, top_draw
from hmu.backbones.tokens.vectors import vector_of
from hmu.data.batch import MotionBatch, length_mask
from hmu.text.base import TextCondition


class Spans(NamedTuple):
    """Given motions of which some tokens are generated anew.

    Attributes:
        text: vectors ``(batch, text width)``. tokens: per clip ``(batch,)``.
        known: ids ``(batch, tokens, quantizers)``. editable: tokens to generate ``(batch, tokens)``.
    """

    text: Tensor
    tokens: Tensor
    known: Tensor
    editable: Tensor


class TokenGenerator(TokenBackbone[M], Generic[M]):
    """Sampling and handles of a :class:`TokenBackbone`. A subclass draws the base tokens."""

    # -- generation --------------------------------------------------------------------------------
    @property
    @abstractmethod
    def longest(self) -> int:
        """Frames that the networks have positions for."""

    @abstractmethod
    def refilled(self, spans: Spans, guidance: float | None, steps: int | None, streams: ClipStreams) -> Tensor:
        """Base ids ``(batch, tokens)`` of clips whose editable tokens are drawn anew from ``streams``.

        ``guidance`` and ``steps`` as for :meth:`sample`.
        """

    def scales(self, guidance: float | None) -> tuple[float, float]:
        """Guidance of the own and of the residual transformer; 0 (no text) and 1 (text alone) hold for both."""
        own, residual = self.sampling.guidance, self.sampling.residual_guidance
        if guidance is None:
            return own, residual
        return float(guidance), float(guidance) if guidance in (0, 1) else residual

    def finish(
        self,
        base: Tensor,
        text: Tensor,
        tokens: Tensor,
        guidance: float | None,
        streams: ClipStreams,
        generator: torch.Generator | None,
        spans: Spans | None = None,
    ) -> Tensor:
        """Motions in real units of ``base`` ids ``(batch, tokens)``, whose residual layers are drawn here.

        ``text`` ``(batch, text width)``; ``tokens`` per clip ``(batch,)``, zero beyond; with ``spans`` only the
        editable tokens are drawn.
        """
        options, upstream = self.sampling, self.variant == "upstream"
        ids = decode_residual(
            self.residual,
            base,
            text,
            length_mask(tokens, base.shape[1]),
            top_draw(options.residual_thres, options.residual_temperature, streams),
            scale=self.scales(guidance)[1],
            layers=options.residual_layers,
            padding=upstream,
            kept=None if upstream or spans is None else spans.known,
            editable=None if spans is None else spans.editable,
        )
        lengths = tokens * self.unit_length
        motion = self.rvq.decode(ids, None if upstream else lengths, generator)
        return self.statistics.denormalise(motion, lengths)

    def inpaint(
        self,
        motion: Tensor,
        lengths: Tensor,
        edit: Tensor | Sequence[tuple[int, int]],
        condition: Prompts,
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Generate the marked spans of given motions anew, under prompts; the other tokens stay in all layers.

        Spans grow to whole tokens. The frames outside come out as the tokenizer reconstructs them. (The authors keep
        only the base layer outside the spans and draw all residual layers anew: ``variant: upstream``.)

        Args:
            motion: real units ``(batch, frames, features)``, as what is returned. lengths: frames, multiples of 4.
            edit: see :func:`token_spans`.
            condition: one prompt per clip, or one for all.
            guidance, generator, steps: as for :meth:`sample`.

        Raises:
            ConfigError: for impossible lengths or spans.
        """
        with evaluating(self.rvq, self.generator, self.text):
            lengths = self.check_lengths(lengths, self.longest)
            text, frames = self.matched(condition, len(lengths)), int(lengths.max())
            require(frames <= motion.shape[1], f"lengths reach {frames} frames, the motions have {motion.shape[1]}")
            known = self.encode_codes(MotionBatch(motion[:, :frames].to(self.device), lengths, (), ()))
            editable = token_spans(edit, lengths, self.unit_length, self.device)
            spans = Spans(text, lengths // self.unit_length, known, editable)
            streams = ClipStreams(spans.tokens, generator)
            base = self.refilled(spans, guidance, steps, streams)
            return self.finish(base, text, spans.tokens, guidance, streams, generator, spans)

    def matched(self, condition: Prompts, clips: int) -> Tensor:
        """Text vectors ``(clips, text width)``; one prompt stands for all clips.

        Raises:
            ConfigError: another number of prompts.
        """
        text = self.vectors(condition, clips)
        require(len(text) == clips, f"{len(text)} prompts, {clips} lengths: expected one length per prompt")
        return text

    # -- handles -----------------------------------------------------------------------------------
    def network(self) -> nn.Module:
        """Both transformers (``masked``, ``residual``) and the codebooks (``quantizer``)."""
        return self.generator

    @property
    def adapter_targets(self) -> list[str]:
        """All query, key, value and output projections of the treated transformers."""
        layers = ((n, part) for n, part in self.generator.named_modules() if isinstance(part, SelfAttention))
        return [f"{name}.{leaf}" for name, part in layers if name.startswith(self.parts) for leaf in part.names]

    def parameter_groups(self) -> dict[str, list[str]]:
        """Weights of the treated transformers by role.

        ``cross``: the layers through which the text enters; ``attention``: the projections of the self-attention;
        ``rest``: all but ``cross``; ``masked``, ``residual``: one transformer's; ``all``.
        """
        names = [name for name, _ in self.generator.named_parameters() if name.startswith(self.parts)]
        layers = tuple(f"{name}." for name in self.adapter_targets)
        cross = [name for name in names if ".cond_emb." in name]
        return {
            "cross": cross,
            "attention": [name for name in names if name.startswith(layers)],
            "rest": [name for name in names if name not in set(cross)],
            **{part: [name for name in names if name.startswith(part)] for part in self.parts},
            "all": names,
        }

    def text_projections(self) -> dict[str, nn.Linear]:
        """The layer ``cond_emb`` (with bias) of each treated transformer."""
        return {f"{part}.cond_emb": getattr(self.generator, part).cond_emb for part in self.parts}

    def projection_inputs(self, condition: TextCondition) -> dict[str, Tensor]:
        """Every layer reads the prompts' vectors ``(batch, text width)``."""
        return dict.fromkeys(self.text_projections(), vector_of(condition, self.text_width).detach())

    def codebooks(self) -> dict[str, Tensor]:
        """``quantizer.layers.<q>.codebook`` ``(codes, width)``; one entry where all layers share one."""
        return {name: value for name, value in self.generator.named_buffers() if name.endswith(".codebook")}

    def codebook_noise(self) -> dict[str, Tensor]:
        """``quantizer.layers.<q>.code_noise`` ``(codes,)``, zero in a base."""
        return {name: value for name, value in self.generator.named_buffers() if name.endswith(".code_noise")}


def token_spans(edit: Tensor | Sequence[tuple[int, int]], lengths: Tensor, unit: int, device: torch.device) -> Tensor:
    """Tokens to generate anew ``(batch, tokens)``: every token of which a frame is marked.

    Args:
        edit: flags ``(batch, frames)``, True = generate, or spans ``[(first, one past last), …]`` in frames for all
            clips. lengths: frames ``(batch,)``. unit: frames per token. device: of the result.

    Raises:
        ConfigError: flags of another shape, or a span that is none.
    """
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
