"""From base tokens to motions, what may be edited in the networks, and spans of given motions to generate anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hmu.backbones.options import require
from hmu.backbones.tokens.base import M, Prompts, TokenBackbone
from hmu.backbones.tokens.encoder import PROJECTIONS
from hmu.backbones.tokens.sampling import ClipStreams, TopDraw, decode_residual
from hmu.backbones.tokens.vectors import vector_of
from hmu.data.batch import MotionBatch, length_mask
from hmu.text.base import TextCondition

ATTENTION = tuple(f".self_attn.{name}" for name in (*PROJECTIONS, "out_proj"))


class Spans(NamedTuple):
    """Given motions of which spans are generated anew.

    Attributes:
        text: vectors ``(batch, text width)``. lengths: frames ``(batch,)``.
        known: ids ``(batch, tokens, quantizers)``. editable: tokens to generate ``(batch, tokens)``.
    """

    text: Tensor
    lengths: Tensor
    known: Tensor
    editable: Tensor


class TokenGenerator(TokenBackbone[M]):
    """Sampling and handles of a :class:`TokenBackbone`."""

    # -- generation --------------------------------------------------------------------------------
    def scales(self, guidance: float | None) -> tuple[float, float]:
        """Guidance of the own and of the residual transformer; 0 (no text) and 1 (text alone) hold for both."""
        own, residual = self.sampling.guidance, self.sampling.residual_guidance
        if guidance is None:
            return own, residual
        return float(guidance), float(guidance) if guidance in (0, 1) else residual

    def residual_tokens(
        self,
        base: Tensor,
        text: Tensor,
        tokens: Tensor,
        guidance: float | None,
        streams: ClipStreams,
        known: Tensor | None = None,
        editable: Tensor | None = None,
    ) -> Tensor:
        """Ids of all layers ``(batch, tokens, layers)`` on ``base`` ids ``(batch, tokens)``.

        ``tokens`` per clip ``(batch,)``; with ``known`` ids only the ``editable`` positions are drawn.
        """
        options, upstream = self.sampling, self.variant == "upstream"
        return decode_residual(
            self.residual,
            base,
            text,
            length_mask(tokens, base.shape[1]),
            TopDraw(options.residual_thres, options.residual_temperature, streams),
            scale=self.scales(guidance)[1],
            layers=options.residual_layers,
            padding=upstream,
            kept=None if upstream else known,
            editable=editable,
        )

    def decode(self, ids: Tensor, lengths: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Motions in real units of ids ``(batch, tokens, layers)``; zero beyond each length (frames)."""
        motion = self.rvq.decode(ids, lengths if self.variant == "default" else None, generator)
        return self.statistics.denormalise(motion, lengths)

    def spans(
        self,
        motion: Tensor,
        lengths: Tensor,
        edit: Tensor | Sequence[tuple[int, int]],
        condition: Prompts,
        most: int,
    ) -> Spans:
        """What :meth:`inpaint` begins with; spans grow to whole tokens. ``most``: frames that the networks read.

        Raises:
            ConfigError: for impossible lengths or spans.
        """
        lengths = self.check_lengths(lengths, most)
        text, frames = self.matched(condition, len(lengths)), int(lengths.max())
        require(frames <= motion.shape[1], f"lengths reach {frames} frames, the motions have {motion.shape[1]}")
        batch = MotionBatch(motion[:, :frames].to(self.device), lengths, (), ())
        editable = token_spans(edit, lengths, self.unit_length, self.device)
        return Spans(text, lengths, self.encode_codes(batch), editable)

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
        names = [name for name, _ in self.generator.named_modules() if name.endswith(ATTENTION)]
        return [name for name in names if name.startswith(self.parts)]

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

    def _buffers_named(self, leaf: str) -> dict[str, Tensor]:
        return {name: value for name, value in self.generator.named_buffers() if name.endswith(leaf)}

    def codebooks(self) -> dict[str, Tensor]:
        """``quantizer.layers.<q>.codebook`` ``(codes, width)``; one entry where all layers share one."""
        return self._buffers_named(".codebook")

    def codebook_noise(self) -> dict[str, Tensor]:
        """``quantizer.layers.<q>.code_noise`` ``(codes,)``, zero in a base."""
        return self._buffers_named(".code_noise")


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
