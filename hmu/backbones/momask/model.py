"""MoMask as a backbone: motion tokens by masked modelling (Guo et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.base import State, Target
from hmu.backbones.draws import Draws
from hmu.backbones.modes import evaluating
from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer, decode_base, mask_tokens
from hmu.backbones.momask.options import PUBLISHED_LENGTH, LengthOptions, SamplingOptions
from hmu.backbones.options import parse, require
from hmu.backbones.tokens.base import Prompts
from hmu.backbones.tokens.generation import Spans, TokenGenerator
from hmu.backbones.tokens.objectives import drop_texts, token_terms
from hmu.backbones.tokens.options import TransformerOptions
from hmu.backbones.tokens.sampling import ClipStreams, top_draw
from hmu.data.batch import MotionBatch, length_mask
from hmu.errors import ConfigError
from hmu.text.base import TextCondition


class MoMask(TokenGenerator[MaskedTransformer]):
    """Tokenizer, masked transformer, residual transformer, length estimator, text encoder, and motion statistics.

    Args:
        length: see :mod:`hmu.backbones.momask.options` (a mapping is accepted); None = no estimator.
        variant: ``default``, or ``upstream`` for the authors' behaviour: padding is read by encoder and decoder and
            counted when positions are masked, the residual transformer may predict "padding" inside a motion, and the
            codebooks train as in :class:`~hmu.backbones.tokens.quantizer.ResidualQuantizer`.
        shared: see :class:`~hmu.backbones.tokens.base.TokenBackbone`.

    Raises:
        ConfigError: for an unknown option or an impossible value.
    """

    name = "momask"
    stages = ("rvq", "masked", "residual", "length")
    stored = ("statistics", "rvq", "masked", "residual", "length", "text")
    transformer, options = MaskedTransformer, (TransformerOptions, SamplingOptions)

    def __init__(self, *, length: LengthOptions | Mapping[str, object] | None, **shared: Any) -> None:
        super().__init__(**shared)
        self.length_options = PUBLISHED_LENGTH if length is None else parse(LengthOptions, length, "length")
        longest = self.max_frames // self.unit_length
        require(longest < self.length_options.classes, f"backbone.length.classes: expected more than {longest}")
        self.length = None if length is None else LengthEstimator(self.text_width, self.length_options)

    # -- training ----------------------------------------------------------------------------------
    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """Draw a training state of the treated transformers.

        ``inputs`` ``(batch, tokens, columns)``: the partly masked base ids (masked transformer), then the ids of layers
        0 … Q-2 with -1 from the drawn layer on (residual transformer). ``target`` ``(batch, tokens, parts)``: the ids
        asked for, -1 elsewhere. ``time``: the share of a quarter cosine that decides how many positions are masked.
        """
        if "masked" not in self.parts:
            return self.residual_state(target, generator)
        ids, valid = self.token_ids(target)
        draws = Draws(generator)
        time, shown, asked = mask_tokens(self.masked, ids[..., 0], valid, draws, self.variant)
        inputs, targets = [shown[..., None]], [asked]
        if "residual" in self.parts:
            known, asked = self.hide_layers(ids, valid, draws)
            inputs.append(known)
            targets.append(asked)
        return State(torch.cat(inputs, -1), time, torch.stack(targets, -1), valid)

    def predict(self, state: State, condition: TextCondition) -> Tensor:
        """Logits ``(batch, tokens, parts, codes)``: of the masked transformer, of the residual one, or of both."""
        inputs, logits = state.inputs, list[Tensor]()
        text = self.vectors(condition, len(inputs))
        if "masked" in self.parts:
            logits.append(self.masked(inputs[..., 0], text, state.valid))
            inputs = inputs[..., 1:]
        if "residual" in self.parts:
            logits.append(self.residual_logits(inputs, text, state.valid))
        return torch.stack(logits, 2)

    def masked_loss(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Cross-entropy over all masked positions of the batch, under condition dropout; scalars."""
        ids, valid = self.token_ids(self.encode_target(batch))
        draws, text = Draws(generator), self.vectors(batch.texts)
        _, inputs, asked = mask_tokens(self.masked, ids[..., 0], valid, draws, self.variant)
        logits = self.masked(inputs, drop_texts(text, self.masked.options.cond_drop, draws), valid)
        return token_terms(logits, asked)

    def length_loss(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Cross-entropy of the number of tokens, and how many frames the most likely one is off; scalars."""
        text, tokens = self.vectors(batch.texts).detach(), batch.lengths // self.unit_length
        logits = self.need_length()(text)
        error = (logits.detach().argmax(1) - tokens).abs().float().mean() * self.unit_length
        return {"loss": F.cross_entropy(logits, tokens), "frames_off": error}

    def stage_parts(self, stage: str) -> list[nn.Module | None]:
        """The modules that a stage trains."""
        return [self.need_length()] if stage == "length" else super().stage_parts(stage)

    def need_length(self) -> LengthEstimator:
        """The length estimator; a fresh one where the checkpoint had none."""
        if self.length is None:
            self.length = LengthEstimator(self.text_width, self.length_options).to(self.device)
        return self.length

    # -- generation --------------------------------------------------------------------------------
    @property
    def longest(self) -> int:
        """Frames that both transformers have positions for."""
        return self.unit_length * min(part.options.positions for part in (self.masked, self.residual))

    def sample(
        self,
        condition: Prompts,
        lengths: Tensor,
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Motions in real units ``(batch, max(lengths), features)``, zero beyond each length.

        ``guidance`` replaces the masked transformer's scale; 0 (no text) and 1 (text alone) hold for both transformers.

        Raises:
            ConfigError: for lengths that are not positive multiples of 4, or not one per prompt.
        """
        with evaluating(self.rvq, self.generator, self.text):
            tokens = self.check_lengths(lengths, self.longest) // self.unit_length
            text, streams = self.matched(condition, len(tokens)), ClipStreams(tokens, generator)
            valid = length_mask(tokens, int(tokens.max()))
            everything = Spans(text, tokens, torch.zeros_like(valid, dtype=torch.long)[..., None], valid)
            ids = self.refilled(everything, guidance, steps, streams)
            return self.finish(ids, text, tokens, guidance, streams, generator)

    def refilled(self, spans: Spans, guidance: float | None, steps: int | None, streams: ClipStreams) -> Tensor:
        """See :meth:`TokenGenerator.refilled`."""
        options = self.sampling
        return decode_base(
            self.masked,
            spans.known[..., 0],
            spans.text,
            length_mask(spans.tokens, spans.known.shape[1]),
            top_draw(options.thres, options.temperature, streams),
            steps=steps or options.steps,
            scale=self.scales(guidance)[0],
            editable=spans.editable,
            variant=self.variant,
        )

    def estimate_lengths(
        self, condition: Prompts, generator: torch.Generator | None = None, greedy: bool = False
    ) -> Tensor:
        """Frames ``(batch,)`` that motions of these prompts take, drawn or the most likely, within the model's limits.

        Raises:
            ConfigError: the model has no length estimator.
        """
        if self.length is None:
            raise ConfigError("this model has no length estimator: give lengths, or train one with stage=length")
        with evaluating(self.length, self.text):
            limits = -(-self.min_frames // self.unit_length), self.max_frames // self.unit_length
            return self.length.draw(self.vectors(condition), *limits, generator, greedy) * self.unit_length
