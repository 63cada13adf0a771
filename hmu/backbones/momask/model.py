"""MoMask as a backbone: motion tokens by masked modelling (Guo et al., CVPR 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmu.backbones.base import State, Target
from hmu.backbones.modes import evaluating
from hmu.backbones.momask import generation, objectives
from hmu.backbones.momask.handles import Network, TokenHandles
from hmu.backbones.momask.length import LengthEstimator
from hmu.backbones.momask.masked import MaskedTransformer
from hmu.backbones.momask.options import (
    LengthOptions,
    ResidualOptions,
    RvqOptions,
    SamplingOptions,
    TransformerOptions,
    require,
)
from hmu.backbones.momask.prompts import encode_prompts, vector_of
from hmu.backbones.momask.residual import ResidualTransformer
from hmu.backbones.momask.rvq import Rvq
from hmu.backbones.options import parse
from hmu.backbones.prompts import PromptCache
from hmu.backbones.statistics import Statistics
from hmu.checks import check_variant
from hmu.data.batch import MotionBatch, length_mask
from hmu.errors import ConfigError
from hmu.text.base import TextCondition, TextEncoder
from hmu.text.stored import storable

WINDOW = 64  # frames of the windows that the tokenizer trains on


class MoMask(TokenHandles):
    """Tokenizer, masked transformer, residual transformer, length estimator, text encoder, and motion statistics.

    Args:
        features: columns of the representation, ``12 joints - 1``.
        text: encoder of prompts with a pooled vector; None where only ready-made conditions will be used.
        rvq, masked, residual, length, sampling: see :mod:`hmu.backbones.momask.options` (mappings are accepted).
        fps: frames per second (20; KIT 12.5).
        text_width: width of a text vector where ``text`` is None.
        min_frames, max_frames: limits of a generated clip.
        feat_bias: how much more root and contacts count when training from scratch (published: 5).
        unlearn: what methods treat: the ``masked`` transformer, the ``residual`` one, or ``both``.
        variant: ``default``, or ``upstream`` for the authors' behaviour: padding is read by encoder and decoder and
            counted when positions are masked, the residual transformer may answer "padding" inside a motion, and the
            codebooks train as in :class:`~hmu.backbones.momask.quantizer.ResidualQuantizer`.

    Raises:
        ConfigError: for an unknown option or an impossible value.
    """

    name = "momask"
    stages = ("rvq", "masked", "residual", "length")

    def __init__(
        self,
        features: int = 263,
        text: TextEncoder | None = None,
        rvq: RvqOptions | Mapping[str, Any] | None = None,
        masked: TransformerOptions | Mapping[str, Any] | None = None,
        residual: ResidualOptions | Mapping[str, Any] | None = None,
        length: LengthOptions | Mapping[str, Any] | None = None,
        sampling: SamplingOptions | Mapping[str, Any] | None = None,
        fps: float = 20.0,
        text_width: int | None = None,
        min_frames: int = 40,
        max_frames: int = 196,
        feat_bias: float = 5.0,
        unlearn: str = "both",
        variant: str = "default",
    ) -> None:
        super().__init__()
        variant = check_variant("backbone.variant", variant)
        tokens = parse(RvqOptions, rvq, "rvq")
        require(tokens.quantizers >= 2, "backbone.rvq.quantizers: expected 2 or more (one base, some residual)")
        self.features, self.fps, self.variant, self.feat_bias = features, float(fps), variant, float(feat_bias)
        self.min_frames, self.max_frames = min_frames, max_frames
        self.text, self.text_width = text, text.width if text is not None else int(text_width or 512)
        self.sampling = parse(SamplingOptions, sampling, "sampling")
        self.length_options = parse(LengthOptions, length, "length")
        self.statistics = Statistics(features)
        self.assemble(
            Rvq(features, tokens, variant),
            MaskedTransformer(
                tokens.codes, tokens.code_dim, self.text_width, parse(TransformerOptions, masked, "masked")
            ),
            ResidualTransformer(
                tokens.codes,
                tokens.quantizers,
                tokens.code_dim,
                self.text_width,
                parse(ResidualOptions, residual, "residual"),
            ),
            LengthEstimator(self.text_width, self.length_options),
        )
        self.choose(unlearn)
        longest = max_frames // self.unit_length
        require(longest < self.length_options.classes, f"backbone.length.classes: expected more than {longest}")
        self.origin: dict[str, Any] = {}
        self._prompts = PromptCache()

    def assemble(
        self,
        rvq: Rvq,
        masked: MaskedTransformer,
        residual: ResidualTransformer,
        length: LengthEstimator | None,
    ) -> None:
        """Take these parts in place of the present ones."""
        self.rvq, self.length, self.unit_length = rvq, length, rvq.unit_length
        self.generator = Network(masked, residual, rvq.quantizer)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.statistics.mean.device

    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """Prepare fresh weights for a data set: statistics, and the vocabulary of an encoder that has none yet.

        Args:
            mean, std: ``(features,)`` of the training motions.
            captions: sentences, or objects with a ``text``.
        """
        self.statistics.fit(mean, std, self.feat_bias)
        self.fit_vocabulary(captions)

    # -- text --------------------------------------------------------------------------------------
    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        """One vector per prompt; ``""`` is the zero vector, as in training. A frozen encoder sees each text once."""
        return encode_prompts(texts, self.text, self._prompts, self.text_width, self.device)

    def vectors(self, texts: Sequence[str] | TextCondition) -> Tensor:
        """Text vectors ``(batch, text width)`` of prompts or of a condition."""
        condition = texts if isinstance(texts, TextCondition) else self.encode_text(texts)
        return vector_of(condition, self.text_width).to(self.device)

    # -- training target ---------------------------------------------------------------------------
    def crop(self, batch: MotionBatch) -> tuple[Tensor, Tensor]:
        """Normalised motion ``(batch, frames, features)`` and lengths, both cut to whole tokens."""
        lengths = batch.lengths // self.unit_length * self.unit_length
        frames = int(lengths.max()) if self.variant == "default" else batch.motion.shape[1]
        frames = frames // self.unit_length * self.unit_length
        return self.statistics.normalise(batch.motion[:, :frames], lengths), lengths

    def encode_target(self, batch: MotionBatch) -> Target:
        """Token ids ``ids`` ``(batch, tokens, quantizers)``, int64, -1 beyond each length; see :meth:`encode_codes`."""
        return Target({"ids": self.encode_codes(batch)}, batch.lengths)

    def encode_codes(self, batch: MotionBatch, layers: int | None = None) -> Tensor:
        """Token ids of the first ``layers`` of the quantiser, -1 beyond each length.

        A padded clip gets the ids it has alone (``upstream``: the encoder reads the padding).
        """
        motion, lengths = self.crop(batch)
        with evaluating(self.rvq):
            ids = self.rvq.encode(motion, lengths if self.variant == "default" else None, layers)
        valid = length_mask(lengths // self.unit_length, ids.shape[1])
        return torch.where(valid[..., None], ids, -1)

    def token_ids(self, target: Target) -> tuple[Tensor, Tensor]:
        """Ids ``(batch, tokens, quantizers)`` and their mask, cut to the longest clip (``upstream``: not cut)."""
        ids, tokens = target.tensors["ids"], target.lengths // self.unit_length
        if self.variant == "default":
            ids = ids[:, : int(tokens.max())]
        return ids, length_mask(tokens, ids.shape[1])

    def corrupt(self, target: Target, generator: torch.Generator | None = None) -> State:
        """Draw a training state of the treated transformers.

        ``inputs`` ``(batch, tokens, columns)``: the partly masked base ids (masked transformer), then the ids of layers
        0 … Q-2 with -1 from the drawn layer on (residual transformer). ``answer`` ``(batch, tokens, parts)``: the ids
        asked for, -1 elsewhere. ``time``: the share of a quarter cosine that decides how many positions are masked.
        """
        return objectives.corrupt(self, target, generator)

    def predict(self, state: State, condition: TextCondition) -> Tensor:
        """Logits ``(batch, tokens, parts, codes)``: of the masked transformer, of the residual one, or of both."""
        text, inputs, logits = self.vectors(condition), state.inputs, list[Tensor]()
        text = text.expand(len(inputs), -1) if len(text) == 1 else text
        if "masked" in self.parts:
            logits.append(self.masked(inputs[..., 0], text, state.valid))
            inputs = inputs[..., 1:]
        if "residual" in self.parts:
            layer = (inputs[:, 0] >= 0).sum(-1)
            logits.append(self.residual(self.residual.history(inputs), layer, text, state.valid))
        return torch.stack(logits, 2)

    def distance(self, prediction: Tensor, answer: Tensor, state: State) -> Tensor:
        """Per-item distance in log-probability space, averaged over the positions asked for and over the parts.

        ``answer`` of ids: ``-log p(id)``. ``answer`` of logits or log-probabilities (they need not be normalised, so
        guided combinations may be given): ``KL(answer || prediction)``.
        """
        return objectives.distance(prediction, answer, state)

    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The published objective of a stage, over real frames or positions only.

        ``rvq`` moves the codebooks when the model is in training mode; the other stages never do. Gradients reach a
        trainable text encoder in the stage ``masked``.
        """
        if self._known(stage) == "length":
            return objectives.length_loss(self, batch)
        losses = {"rvq": objectives.rvq_loss, "masked": objectives.masked_loss, "residual": objectives.residual_loss}
        return losses[stage](self, batch, generator)

    def stage_window(self, stage: str) -> int | None:
        """Frames of the random windows that a stage trains on (tokenizer 64), None = whole clips."""
        return WINDOW if self._known(stage) == "rvq" else None

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """Trainable parameters of a stage.

        A text encoder that is stored with the model trains in the stage ``masked`` and is frozen in the others.
        """
        if self._known(stage) != "rvq" and storable(self.text):
            assert self.text is not None
            self.text.requires_grad_(stage == "masked")
            self._prompts.clear()
        parts: dict[str, list[nn.Module | None]] = {
            "rvq": [self.rvq],
            "masked": [self.masked, self.text],
            "residual": [self.residual],
            "length": [self.need_length(create=stage == "length")],
        }
        return (p for part in parts[stage] if part is not None for p in part.parameters() if p.requires_grad)

    def prepare_stage(self, stage: str, batches: Iterable[MotionBatch]) -> None:
        """Refuse to train a transformer on codebooks that no training and no checkpoint has filled.

        Raises:
            ConfigError: saying so.
        """
        filled = all(bool(codes.any()) for codes in self.codebooks().values())
        require(
            filled or self._known(stage) in ("rvq", "length"),
            f"stage={stage}: the codebooks are empty; train stage=rvq first, and start from it with init=<run folder>",
        )

    def need_length(self, create: bool = True) -> LengthEstimator | None:
        """The length estimator; a fresh one where the checkpoint had none and ``create`` is set."""
        if self.length is None and create:
            self.length = LengthEstimator(self.text_width, self.length_options).to(self.device)
        return self.length

    def _known(self, stage: str) -> str:
        require(stage in self.stages, f"stage={stage}: {self.name} has the stages {', '.join(self.stages)}")
        return stage

    # -- generation --------------------------------------------------------------------------------
    def sample(
        self,
        condition: TextCondition | Sequence[str],
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
        return generation.sample(self, condition, lengths, guidance, generator, steps)

    def estimate_lengths(
        self,
        condition: TextCondition | Sequence[str],
        generator: torch.Generator | None = None,
        greedy: bool = False,
    ) -> Tensor:
        """Frames ``(batch,)`` that motions of these prompts take, drawn or the most likely, within the model's limits.

        Raises:
            ConfigError: the model has no length estimator.
        """
        if self.length is None:
            raise ConfigError("this model has no length estimator: give lengths, or train one with stage=length")
        with evaluating(*(m for m in (self.length, self.text) if m is not None)):
            limits = -(-self.min_frames // self.unit_length), self.max_frames // self.unit_length
            return self.length.draw(self.vectors(condition), *limits, generator, greedy) * self.unit_length

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
        """Motions whose marked spans are generated anew; see :func:`hmu.backbones.momask.generation.inpaint`."""
        return generation.inpaint(self, motion, lengths, edit, condition, guidance, generator, steps)

    # -- files -------------------------------------------------------------------------------------
    def save_pretrained(self, folder: Path | str, dtype: str = "float32") -> Path:
        """Write our model folder (``config.json``, ``weights.safetensors``); see :mod:`hmu.backbones.momask.native`."""
        from hmu.backbones.momask import native

        return native.save_pretrained(self, folder, dtype)

    @classmethod
    def load_pretrained(cls, folder: Path | str, **options: Any) -> MoMask:
        """Read our model folder; see :func:`hmu.backbones.momask.native.load_pretrained`."""
        from hmu.backbones.momask import native

        return native.load_pretrained(folder, **options)

    def provenance(self) -> dict[str, Any]:
        """Files the weights came from, with their SHA-256."""
        return dict(self.origin)
