"""BAMM as a backbone: motion tokens by bidirectional autoregression (Pinyoanuntapong et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmu.backbones.bamm import objectives, synthesis
from hmu.backbones.bamm.options import BidirectionalOptions, SamplingOptions
from hmu.backbones.bamm.transformer import BidirectionalTransformer
from hmu.backbones.base import State, Target
from hmu.backbones.modes import evaluating
from hmu.backbones.momask.model import MoMask
from hmu.backbones.momask.options import LengthOptions, ResidualOptions, RvqOptions, TransformerOptions, require
from hmu.backbones.momask.residual import ResidualTransformer
from hmu.backbones.momask.rvq import Rvq
from hmu.backbones.options import parse
from hmu.data.batch import MotionBatch
from hmu.text.base import TextCondition, TextEncoder

#: of MoMask's transformer and length estimator, which are built only to be replaced
PLACEHOLDER = TransformerOptions(2, 1, 1, 1, positions=1)


class Bamm(MoMask):
    """MoMask's tokenizer and residual transformer around a transformer that also finds where a motion ends.

    Args:
        features: columns of the representation, ``12 joints - 1``.
        text: encoder of prompts with a pooled vector; None where only ready-made conditions will be used.
        rvq, residual: see :mod:`hmu.backbones.momask.options` (mappings are accepted).
        masked, sampling: see :mod:`hmu.backbones.bamm.options` (mappings are accepted).
        fps: frames per second (20; KIT 12.5).
        text_width: width of a text vector where ``text`` is None.
        min_frames, max_frames: limits of a generated clip; the model may not end one sooner.
        feat_bias: how much more root and contacts count when training from scratch (published: 5).
        unlearn: what methods treat: BAMM's own transformer (``masked``), the ``residual`` one, or ``both``.
        variant: ``default``, or ``upstream`` for the authors' behaviour: MoMask's, and in the second pass all scores
            tie and known tokens are overwritten on the way; a motion may end at once; editing ignores the text.

    Attributes:
        borrowed: tokenizer, residual transformer and text encoder come from another model; the text encoder, which the
            residual transformer was trained with, then stays frozen in training.

    Raises:
        ConfigError: for an unknown option or an impossible value.
    """

    name = "bamm"
    stages = ("rvq", "masked", "residual")  # type: ignore[assignment]
    sampling: SamplingOptions  # type: ignore[assignment]
    borrowed: bool = False

    def __init__(
        self,
        features: int = 263,
        text: TextEncoder | None = None,
        rvq: RvqOptions | Mapping[str, Any] | None = None,
        masked: BidirectionalOptions | Mapping[str, Any] | None = None,
        residual: ResidualOptions | Mapping[str, Any] | None = None,
        sampling: SamplingOptions | Mapping[str, Any] | None = None,
        fps: float = 20.0,
        text_width: int | None = None,
        min_frames: int = 40,
        max_frames: int = 196,
        feat_bias: float = 5.0,
        unlearn: str = "both",
        variant: str = "default",
    ) -> None:
        unused = LengthOptions(max_frames + 1, (1, 1, 1))
        super().__init__(
            features, text, rvq, PLACEHOLDER, residual, unused, None, fps, text_width, min_frames, max_frames,
            feat_bias, unlearn, variant,
        )  # fmt: skip
        options = parse(BidirectionalOptions, masked, "masked")
        self.sampling = parse(SamplingOptions, sampling, "sampling")
        net = BidirectionalTransformer(self.rvq.options.codes, self.rvq.options.code_dim, self.text_width, options)
        self.install(self.rvq, net, self.residual)

    def install(self, rvq: Rvq, masked: BidirectionalTransformer, residual: ResidualTransformer) -> None:
        """Take these parts in place of the present ones.

        Raises:
            ConfigError: clips may be longer than the transformer reads.
        """
        self.assemble(rvq, masked, residual, None)  # type: ignore[arg-type]
        longest = self.max_frames // self.unit_length
        require(
            longest <= masked.options.max_tokens,
            f"backbone.max_frames={self.max_frames} are {longest} tokens, but backbone.masked.max_tokens is "
            f"{masked.options.max_tokens}",
        )

    @property
    def masked(self) -> BidirectionalTransformer:  # type: ignore[override]
        """BAMM's own transformer."""
        return self.generator.masked  # type: ignore[return-value]

    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """As :meth:`MoMask.prepare`; a borrowed tokenizer keeps the statistics that it was trained with."""
        if self.borrowed:
            self.fit_vocabulary(captions)
        else:
            super().prepare(mean, std, captions)

    # -- training ----------------------------------------------------------------------------------
    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """Draw a training state of the treated transformers; BAMM's has one place more than the clip has tokens.

        ``inputs`` ``(batch, places, columns)``: base ids with random ones among them, whether a place is shown ahead of
        time, then the ids of layers 0 … Q-2 with -1 from the drawn layer on (residual transformer, if treated).
        ``answer`` ``(batch, places, parts)``: the ids asked for, END among them, -1 elsewhere. ``time``: the share of
        places shown ahead of time. With ``unlearn: residual`` as :meth:`MoMask.corrupt`.
        """
        if "masked" not in self.parts:
            return super().corrupt(target, generator)
        return objectives.state_of(self, target, generator)

    def predict(self, state: State, condition: TextCondition) -> Tensor:
        """Logits ``(batch, places, parts, classes)``: of BAMM's transformer, of the residual one, or of both.

        Classes are the codes and END, which the residual transformer never answers; with ``unlearn: residual`` they are
        the codes.
        """
        if "masked" not in self.parts:
            return super().predict(state, condition)
        return objectives.predict(self, state, condition)

    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The published objective of a stage, over real frames or places only; see :meth:`MoMask.stage_loss`.

        The authors' training of the residual transformer cannot run in their repository; here it is MoMask's.
        """
        if self._known(stage) == "masked":
            return objectives.masked_loss(self, batch, generator)
        return super().stage_loss(stage, batch, generator)

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """As :meth:`MoMask.stage_parameters`; a borrowed text encoder stays as the residual transformer knows it."""
        parameters = list(super().stage_parameters(stage))
        if self.borrowed and self.text is not None:
            self.text.requires_grad_(False)
            parameters = [parameter for parameter in parameters if parameter.requires_grad]
        return iter(parameters)

    # -- generation --------------------------------------------------------------------------------
    def check_steps(self, steps: int | None, key: str) -> None:
        """As :func:`hmu.backbones.bamm.synthesis.passes_of` takes them."""
        synthesis.passes_of(steps, key)

    def sample(
        self,
        condition: TextCondition | Sequence[str],
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
        condition: TextCondition | Sequence[str],
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
        return synthesis.generate(self, condition, lengths, guidance, generator, steps)

    def estimate_lengths(
        self,
        condition: TextCondition | Sequence[str],
        generator: torch.Generator | None = None,
        greedy: bool = False,
    ) -> Tensor:
        """Frames ``(batch,)`` after which the causal pass ends motions of these prompts, within the model's limits.

        ``greedy``: of the most likely tokens. :meth:`generate` without lengths finds its own while generating.
        """
        unit = self.unit_length
        with evaluating(*synthesis.parts_of(self)):
            options = replace(self.sampling, temperature=0.0) if greedy else self.sampling
            return synthesis.base_tokens(self, self.vectors(condition), None, options, None, generator, 1)[1] * unit

    def inpaint(
        self,
        motion: Tensor,
        lengths: Tensor,
        edit: Tensor | Sequence[tuple[int, int]],
        condition: TextCondition | Sequence[str],
        *,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> Tensor:
        """Generate the marked spans of given motions anew, under prompts and with all other tokens in sight.

        The other tokens stay in all layers (``upstream``: in the base layer only, and the text is ignored). The
        arguments are those of :func:`hmu.backbones.momask.generation.inpaint`; there is one pass, whatever ``steps``.

        Raises:
            ConfigError: for impossible lengths or spans.
        """
        return synthesis.inpaint(self, motion, lengths, edit, condition, guidance, generator)

    # -- handles -----------------------------------------------------------------------------------
    @property
    def adapter_targets(self) -> list[str]:
        """All query, key, value and output projections of the treated transformers."""
        own = [f"masked.{name}" for name in self.masked.attention_linears()] if "masked" in self.parts else []
        return own + [name for name in super().adapter_targets if name.startswith("residual.")]

    def parameter_groups(self) -> dict[str, list[str]]:
        """As :meth:`MoMask.parameter_groups`, whatever the blocks' names."""
        layers = tuple(f"{name}." for name in self.adapter_targets)
        groups = super().parameter_groups()
        return {**groups, "attention": [name for name in groups["all"] if name.startswith(layers)]}

    # -- files -------------------------------------------------------------------------------------
    def save_pretrained(self, folder: Path | str, dtype: str = "float32") -> Path:
        """Write our model folder (``config.json``, ``weights.safetensors``); see :mod:`hmu.backbones.bamm.native`."""
        from hmu.backbones.bamm import native

        return native.save_pretrained(self, folder, dtype)

    @classmethod
    def load_pretrained(cls, folder: Path | str, **options: Any) -> Bamm:
        """Read our model folder; see :func:`hmu.backbones.bamm.native.load_pretrained`."""
        from hmu.backbones.bamm import native

        return native.load_pretrained(folder, **options)
