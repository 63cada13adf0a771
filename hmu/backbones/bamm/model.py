"""BAMM as a backbone: motion tokens by bidirectional autoregression (Pinyoanuntapong et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise, starmap
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hmu.backbones.bamm.corruption import Corrupted, corrupt, draw, masked_terms
from hmu.backbones.bamm.generation import draw_noise, generate_ids, refine_pass, with_end
from hmu.backbones.bamm.options import BidirectionalOptions, SamplingOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.base import State, Target
from hmu.backbones.draws import Draws
from hmu.backbones.modes import evaluating
from hmu.backbones.options import require
from hmu.backbones.tokens.base import Prompts
from hmu.backbones.tokens.encoder import SelfAttention, initialise
from hmu.backbones.tokens.generation import Spans, TokenGenerator
from hmu.backbones.tokens.objectives import drop_texts
from hmu.backbones.tokens.options import ResidualOptions, RvqOptions
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.rvq import Rvq
from hmu.backbones.tokens.sampling import ClipStreams
from hmu.data.batch import MotionBatch, length_mask
from hmu.text.base import TextCondition

NEVER = -1e4  # logit of END in the residual layers, which have no such class; finite, so that differences stay numbers


class Bamm(TokenGenerator[BidirectionalTransformer]):
    """MoMask's tokenizer and residual transformer around a transformer that also finds where a motion ends.

    Args:
        min_frames, max_frames: limits of a generated clip; the model may not end one sooner.
        variant: ``default``, or ``upstream`` for the authors' behaviour: MoMask's, and in the second pass all scores
            tie and known tokens are overwritten on the way; a motion may end at once; editing ignores the text.
        borrowed: tokenizer, residual transformer and text encoder come from another model; the text encoder, which the
            residual transformer was trained with, then stays frozen in training.
        shared: see :class:`~hmu.backbones.tokens.base.TokenBackbone`.

    Raises:
        ConfigError: for an unknown option or an impossible value.
    """

    name = "bamm"
    stages = ("rvq", "masked", "residual")
    stored = ("statistics", "rvq", "masked", "residual", "text")
    transformer, options = BidirectionalTransformer, (BidirectionalOptions, SamplingOptions)

    def __init__(self, *, borrowed: bool = False, **shared: Any) -> None:
        super().__init__(**shared)
        self.borrowed = borrowed

    def fresh_parts(
        self, rvq: RvqOptions, masked: BidirectionalOptions, residual: ResidualOptions
    ) -> tuple[Rvq, BidirectionalTransformer, ResidualTransformer]:
        """See :meth:`TokenBackbone.fresh_parts`.

        Version 0.1 drew more than it used: MoMask's masked transformer and length estimator in the smallest sizes, and
        the attention of ``official`` blocks twice. That is still drawn, so that a seed gives the weights it gave then.
        """
        codes, code_dim, width = rvq.codes, rvq.code_dim, self.text_width
        smallest = replace(masked, blocks="official", latent_dim=2, n_heads=1, n_layers=1, ff_size=1, max_tokens=1)
        tokenizer = Rvq(self.features, rvq, self.variant)
        BidirectionalTransformer(codes - 1, code_dim, width, smallest)
        layers = ResidualTransformer(codes, rvq.quantizers, code_dim, width, residual)
        initialise(nn.Sequential(*starmap(nn.Linear, pairwise((width, 1, 1, 1, self.max_frames + 1)))))
        for _ in range(masked.n_layers if masked.blocks == "official" else 0):
            SelfAttention(masked.latent_dim, masked.n_heads, masked.dropout)
        return tokenizer, BidirectionalTransformer(codes, code_dim, width, masked), layers

    def assemble(self, rvq: Rvq, masked: BidirectionalTransformer, residual: ResidualTransformer) -> None:
        """Consist of these parts; clips may not be longer than the transformer reads."""
        super().assemble(rvq, masked, residual)
        longest = self.max_frames // self.unit_length
        require(
            longest <= masked.options.max_tokens,
            f"backbone.max_frames={self.max_frames} are {longest} tokens, but backbone.masked.max_tokens is "
            f"{masked.options.max_tokens}",
        )

    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """See :meth:`MotionBackbone.prepare`; a borrowed tokenizer keeps the statistics that it was trained with."""
        if self.borrowed:
            self.fit_vocabulary(captions)
        else:
            super().prepare(mean, std, captions)

    # -- training ----------------------------------------------------------------------------------
    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """Draw a training state of the treated transformers; BAMM's has one place more than the clip has tokens.

        ``inputs`` ``(batch, places, columns)``: base ids with random ones among them, whether a place is shown ahead of
        time, then the ids of layers 0 … Q-2 with -1 from the drawn layer on (residual transformer, if treated).
        ``target`` ``(batch, places, parts)``: the ids asked for, END among them, -1 elsewhere. ``time``: the share of
        places shown ahead of time. With ``unlearn: residual`` as :meth:`TokenBackbone.residual_state`.
        """
        if "masked" not in self.parts:
            return self.residual_state(target, generator)
        ids, valid, hidden = self._hide(target, generator)
        inputs = [hidden.ids[..., None], hidden.conditions.long()[..., None]]
        targets = [torch.where(hidden.valid, hidden.target, -1)]
        if "residual" in self.parts:
            known, asked = self.hide_layers(ids, valid, Draws(generator))
            inputs.append(F.pad(known, (0, 0, 0, 1), value=-1))
            targets.append(F.pad(asked, (0, 1), value=-1))
        shown = (hidden.conditions & hidden.valid).sum(1) / hidden.valid.sum(1)
        return State(torch.cat(inputs, -1), shown, torch.stack(targets, -1), hidden.valid)

    def _hide(self, target: Target, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Corrupted]:
        """Ids ``(batch, tokens, quantizers)``, their mask, and the corrupted base tokens with a place for END."""
        ids, valid = self.token_ids(target)
        net, lengths = self.masked, target.lengths // self.unit_length
        ended = with_end(F.pad(ids[..., 0], (0, 1)), lengths, net.end_id)
        shape = (len(ids), ids.shape[1] + 1)
        return ids, valid, corrupt(ended, lengths, draw(shape, net.codes, net.options, generator, ids.device))

    def predict(self, state: State, condition: TextCondition) -> Tensor:
        """Logits ``(batch, places, parts, classes)``: of BAMM's transformer, of the residual one, or of both.

        Classes are the codes and END, which the residual transformer never predicts; with ``unlearn: residual`` they
        are the codes.
        """
        inputs = state.inputs
        text = self.vectors(condition, len(inputs))
        if "masked" not in self.parts:
            return self.residual_logits(inputs, text, state.valid)[:, :, None]
        logits = [self.masked(inputs[..., 0], text, inputs[..., 1].bool())[:, :-1]]
        if "residual" in self.parts:
            known = inputs[..., 2:]
            codes = self.residual_logits(known, text, (known[..., 0] >= 0) & state.valid)
            logits.append(F.pad(codes, (0, 1), value=NEVER))
        return torch.stack(logits, 2)

    def masked_loss(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Cross-entropy of every token and END, per clip and then over clips, under condition dropout; scalars.

        (The authors' training of the residual transformer cannot run in their repository; here it is MoMask's.)
        """
        _, _, hidden = self._hide(self.encode_target(batch), generator)
        text = drop_texts(self.vectors(batch.texts), self.masked.options.cond_drop, Draws(generator))
        return masked_terms(self.masked(hidden.ids, text, hidden.conditions)[:, :-1], hidden)

    def train_text(self, trains: bool) -> None:
        """A borrowed text encoder stays as the residual transformer knows it."""
        super().train_text(trains and not self.borrowed)

    # -- generation --------------------------------------------------------------------------------
    @property
    def longest(self) -> int:
        """Frames that the transformer reads."""
        return self.unit_length * self.masked.options.max_tokens

    def check_steps(self, steps: int | None, key: str) -> None:
        """BAMM's steps are its passes: 2, or 1 without the refining one; None = 2."""
        require(steps in (None, 1, 2), f"{key}={steps}: BAMM generates in passes, expected 1 (causal only), 2 or null")

    def sample(
        self,
        condition: Prompts,
        lengths: Tensor | None,
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Motions in real units ``(batch, frames, features)``, zero beyond each length; see :meth:`generate`."""
        return self.generate(condition, lengths, guidance=guidance, generator=generator, steps=steps)[0]

    def generate(
        self,
        condition: Prompts,
        lengths: Tensor | None = None,
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Motions in real units ``(batch, frames, features)``, zero beyond each length, and their frames ``(batch,)``.

        Args:
            condition: prompts.
            lengths: frames, multiples of 4; None = the model ends each motion itself.
            guidance: replaces the causal pass's scale; 0 (no text) and 1 (text alone) hold for everything.
            generator: equal generators give equal motions, whatever else is in the batch.
            steps: 1 leaves out the refining pass.

        Raises:
            ConfigError: for impossible lengths or steps.
        """
        self.check_steps(steps, "steps")
        with evaluating(self.rvq, self.generator, self.text):
            text, tokens = self.vectors(condition), None
            if lengths is not None:
                tokens = self.check_lengths(lengths, self.longest) // self.unit_length
                text = self.matched(condition, len(tokens))
            base, tokens, streams = self._base(text, tokens, self.sampling, guidance, generator, steps or 2)
            frames = tokens * self.unit_length
            motion = self.finish(base, text, tokens, guidance, streams, generator)
            return motion[:, : int(frames.max())], frames

    def _base(
        self,
        text: Tensor,
        tokens: Tensor | None,
        options: SamplingOptions,
        guidance: float | None,
        generator: torch.Generator | None,
        passes: int,
    ) -> tuple[Tensor, Tensor, ClipStreams]:
        """Base ids ``(batch, tokens)``, tokens per clip ``(batch,)``, and the clips' random streams."""
        net, most = self.masked, self.masked.options.max_tokens
        known = torch.full((len(text),), most, device=self.device) if tokens is None else tokens
        streams, upstream = ClipStreams(known, generator), self.variant == "upstream"
        places = most if upstream else int(known.max())
        if guidance in (0, 1):
            options = replace(options, refine_guidance=float(guidance))
        if upstream:
            options = replace(options, ranking="tied")
        drawn = generate_ids(
            net,
            text,
            tokens,
            options,
            draw_noise(streams, places, net.codes + 1),
            guidance=guidance,
            passes=passes,
            earliest=0 if upstream else -(-self.min_frames // self.unit_length),
            upstream=upstream,
        )
        streams.lengths = drawn.lengths.tolist()
        return drawn.ids[:, : places + 1 if upstream else int(drawn.lengths.max())], drawn.lengths, streams

    def estimate_lengths(
        self, condition: Prompts, generator: torch.Generator | None = None, greedy: bool = False
    ) -> Tensor:
        """Frames ``(batch,)`` after which the causal pass ends motions of these prompts, within the model's limits.

        ``greedy``: of the most likely tokens. :meth:`generate` without lengths finds its own while generating.
        """
        with evaluating(self.rvq, self.generator, self.text):
            options = replace(self.sampling, temperature=0.0) if greedy else self.sampling
            return self._base(self.vectors(condition), None, options, None, generator, 1)[1] * self.unit_length

    def refilled(self, spans: Spans, guidance: float | None, steps: int | None, streams: ClipStreams) -> Tensor:
        """See :meth:`TokenGenerator.refilled`: one pass with all other tokens in sight, whatever ``steps``.

        ``upstream``: the text is ignored.
        """
        net, options, places = self.masked, self.sampling, spans.known.shape[1]
        shown = length_mask(spans.tokens + 1, places + 1) & ~F.pad(spans.editable, (0, 1))
        start = with_end(F.pad(spans.known[..., 0].clamp_min(0), (0, 1)), spans.tokens, net.end_id)
        asked = options.refine_guidance if guidance is None else float(guidance)
        scale = 0.0 if self.variant == "upstream" else options.guidance if asked is None else asked
        noise, heat = draw_noise(streams, places, net.codes).second, options.temperature
        drawn = refine_pass(net, start, shown, spans.text, places=places, scale=scale, noise=noise, temperature=heat)
        return drawn.ids[:, :-1]
