"""A generator of motion tokens as a backbone: tokenizer, its own and a residual transformer, text vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from hmu.backbones.base import State, Target
from hmu.backbones.draws import Draws
from hmu.backbones.modes import evaluating
from hmu.backbones.options import parse, require
from hmu.backbones.prompts import PromptedBackbone
from hmu.backbones.statistics import Statistics
from hmu.backbones.tokens import objectives
from hmu.backbones.tokens.options import ResidualOptions, RvqOptions, TokenSampling, TransformerOptions
from hmu.backbones.tokens.quantizer import ResidualQuantizer
from hmu.backbones.tokens.residual import ResidualTransformer
from hmu.backbones.tokens.rvq import Rvq, rvq_terms
from hmu.backbones.tokens.transformer import TokenTransformer
from hmu.backbones.tokens.vectors import condition_of, vector_of
from hmu.checks import check_variant
from hmu.data.batch import MotionBatch, length_mask
from hmu.motion.layout import FeatureLayout
from hmu.text.base import TextCondition, TextEncoder
from hmu.values import Positive

UNLEARN = ("masked", "residual", "both")
WINDOW = 64  # frames of the windows that the tokenizer trains on
Prompts = TextCondition | Sequence[str]
M = TypeVar("M", bound=TokenTransformer)


class Network(nn.Module, Generic[M]):
    """What unlearning edits: both transformers, and the codebooks."""

    def __init__(self, masked: M, residual: ResidualTransformer, quantizer: ResidualQuantizer) -> None:
        super().__init__()
        self.masked, self.residual, self.quantizer = masked, residual, quantizer


class TokenBackbone(PromptedBackbone, Generic[M]):
    """A backbone around a transformer ``M`` of base tokens.

    Args:
        features: columns of the representation, ``12 joints - 1``.
        text: encoder of prompts with a pooled vector; None where only ready-made conditions will be used.
        rvq, residual, masked, sampling: see :mod:`hmu.backbones.tokens.options`; mappings are accepted.
        fps: frames per second (20; KIT 12.5). min_frames, max_frames: limits of a generated clip.
        feat_bias: how much more root and contacts count when training from scratch (published: 5).
        unlearn: what methods treat: the ``masked`` transformer, the ``residual`` one, or ``both``.
        variant: ``default`` or ``upstream``.
        text_width: width of a text vector where ``text`` is None.

    Attributes:
        transformer: makes the transformer ``M``; options: the classes of its numbers and of those of the sampling.

    Raises:
        ConfigError: for an unknown option or an impossible value.
    """

    recomputed = ("*position_enc.pe",)
    training_only = ("*.code_sum", "*.code_count")  # running averages; training on derives them from the codes
    adjustable = ("text", "sampling", "unlearn", "variant")
    transformer: ClassVar[Callable[..., Any]]
    options: ClassVar[tuple[type[TransformerOptions], type[TokenSampling]]]
    generator: Network[M]

    def __init__(
        self,
        features: int,
        text: TextEncoder | None,
        rvq: RvqOptions | Mapping[str, Any],
        masked: Any,
        residual: ResidualOptions | Mapping[str, Any],
        sampling: TokenSampling | Mapping[str, Any],
        fps: float,
        min_frames: int,
        max_frames: int,
        feat_bias: Positive,
        unlearn: str,
        variant: str,
        text_width: int | None = None,
    ) -> None:
        super().__init__(text, text_width)
        tokens = parse(RvqOptions, rvq, "rvq")
        require(tokens.quantizers >= 2, "backbone.rvq.quantizers: expected 2 or more (one base, some residual)")
        require(unlearn in UNLEARN, f"backbone.unlearn={unlearn}: expected one of {', '.join(UNLEARN)}")
        self.variant, self.unlearn = check_variant("backbone.variant", variant), unlearn
        require(feat_bias > 0, f"backbone.feat_bias={feat_bias}: expected a number above 0")
        self.features, self.fps, self.feat_bias = features, float(fps), float(feat_bias)
        self.min_frames, self.max_frames, self.unit_length = min_frames, max_frames, tokens.unit_length
        self.statistics = Statistics(features)
        self.sampling: Any = parse(self.options[1], sampling, "sampling")
        own, layers = parse(self.options[0], masked, "masked"), parse(ResidualOptions, residual, "residual")
        self.assemble(*self.fresh_parts(tokens, own, layers))

    def fresh_parts(
        self, rvq: RvqOptions, masked: Any, residual: ResidualOptions
    ) -> tuple[Rvq, M, ResidualTransformer]:
        """Parts of these sizes with initial weights; which ones a seed gives depends on their order."""
        codes, code_dim, width = rvq.codes, rvq.code_dim, self.text_width
        return (
            Rvq(self.features, rvq, self.variant),
            type(self).transformer(codes, code_dim, width, masked),
            ResidualTransformer(codes, rvq.quantizers, code_dim, width, residual),
        )

    def assemble(self, rvq: Rvq, masked: M, residual: ResidualTransformer) -> None:
        """Consist of these parts."""
        self.rvq, self.generator = rvq, Network(masked, residual, rvq.quantizer)

    @property
    def masked(self) -> M:
        """The transformer of base tokens."""
        return self.generator.masked

    @property
    def residual(self) -> ResidualTransformer:
        """The residual transformer."""
        return self.generator.residual

    @property
    def parts(self) -> tuple[str, ...]:
        """The treated transformers, by their names in :meth:`network`."""
        return tuple(part for part in ("masked", "residual") if self.unlearn in (part, "both"))

    def prepare(self, mean: Any, std: Any, captions: Iterable[Any] = ()) -> None:
        """See :meth:`MotionBackbone.prepare`; the statistics are those of :meth:`Statistics.fit`."""
        self.statistics.fit(mean, std, self.feat_bias)
        self.fit_vocabulary(captions)

    # -- text --------------------------------------------------------------------------------------
    def encode_text(self, texts: Sequence[str]) -> TextCondition:
        """One vector per prompt; ``""`` is the zero vector, which the models learn as "no text"."""
        blank = [not text.strip() for text in texts]
        if all(blank):
            return condition_of(torch.zeros(len(texts), self.text_width, device=self.device))
        filler = next(text for text in texts if text.strip())  # any prompt that is encoded anyway
        encoded = super().encode_text([text if text.strip() else filler for text in texts])
        vectors = vector_of(encoded, self.text_width).to(self.device)
        empty = torch.tensor(blank, device=self.device)[:, None]
        return condition_of(torch.where(empty, torch.zeros_like(vectors), vectors))

    def vectors(self, texts: Prompts, rows: int | None = None) -> Tensor:
        """Text vectors ``(batch, text width)`` of prompts or of a condition; ``rows``: a single one is repeated."""
        condition = texts if isinstance(texts, TextCondition) else self.encode_text(texts)
        text = vector_of(condition, self.text_width).to(self.device)
        return text.expand(rows, -1) if rows is not None and len(text) == 1 else text

    # -- training target ---------------------------------------------------------------------------
    def crop(self, batch: MotionBatch) -> tuple[Tensor, Tensor]:
        """Normalised motion ``(batch, frames, features)`` and lengths ``(batch,)``, both cut to whole tokens."""
        lengths = batch.lengths // self.unit_length * self.unit_length
        frames = int(lengths.max()) if self.variant == "default" else batch.motion.shape[1]
        frames = frames // self.unit_length * self.unit_length
        return self.statistics.normalise(batch.motion[:, :frames], lengths), lengths

    def encode_target(self, batch: MotionBatch) -> Target:
        """Token ids ``ids`` ``(batch, tokens, quantizers)``, int64, -1 beyond each length; see :meth:`encode_codes`."""
        return Target({"ids": self.encode_codes(batch)}, batch.lengths)

    def encode_codes(self, batch: MotionBatch, layers: int | None = None) -> Tensor:
        """Token ids of the first ``layers`` of the quantiser ``(batch, tokens, layers)``, -1 beyond each length.

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

    def hide_layers(self, ids: Tensor, valid: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """The residual transformer's part of a training state.

        Ids of layers 0 … Q-2 with -1 from a drawn layer on ``(batch, tokens, Q - 1)``, and that layer's ids, -1 at
        padding ``(batch, tokens)``.
        """
        layer = objectives.active_layers(draws.uniform((len(ids),), torch.zeros((), device=ids.device)), ids.shape[-1])
        return objectives.known_layers(ids, layer)[..., :-1], objectives.layer_ids(ids, layer, valid)

    def residual_state(self, target: Target, generator: torch.Generator | None) -> State:
        """The training state where the residual transformer alone is treated; see :meth:`hide_layers`."""
        ids, valid = self.token_ids(target)
        known, asked = self.hide_layers(ids, valid, Draws(generator))
        return State(known, torch.zeros(len(ids), device=ids.device), asked[..., None], valid)

    def residual_logits(self, known: Tensor, text: Tensor, valid: Tensor, padding: bool = False) -> Tensor:
        """Logits ``(batch, tokens, codes)`` of the first layer that is not ``known`` ``(batch, tokens, Q - 1)``."""
        return self.residual(self.residual.history(known), (known[:, 0] >= 0).sum(-1), text, valid, padding)

    def distance(self, prediction: Tensor, target: Tensor, state: State) -> Tensor:
        """Per-item distance in log-probability space, averaged over the positions asked for and over the parts.

        ``target`` of ids: ``-log p(id)``. ``target`` of logits or log-probabilities (they need not be normalised, so
        guided combinations may be given): ``KL(target || prediction)``.
        """
        return objectives.distance(prediction, target, state.target)

    # -- training from scratch ---------------------------------------------------------------------
    def stage_loss(self, stage: str, batch: MotionBatch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The published objective of a stage (method ``<stage>_loss``), over real frames or positions only.

        ``rvq`` moves the codebooks when the model is in training mode; the other stages never do. Gradients reach a
        trainable text encoder in the stage ``masked``.
        """
        terms: dict[str, Tensor] = getattr(self, f"{self.known_stage(stage)}_loss")(batch, generator)
        return terms

    def rvq_loss(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Reconstruction, positions and commitment over real frames (``upstream``: padding counts); scalars."""
        motion, lengths = self.crop(batch)
        read = lengths if self.variant == "default" else None
        output = self.rvq(motion, read, Draws(generator))
        return rvq_terms(output, motion, self.rvq.options, FeatureLayout.of(self.features).positions, read)

    def residual_loss(self, batch: MotionBatch, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Cross-entropy of one drawn layer per clip over its real positions, under condition dropout; scalars."""
        ids, valid = self.token_ids(self.encode_target(batch))
        draws, text = Draws(generator), self.vectors(batch.texts).detach()
        known, asked = self.hide_layers(ids, valid, draws)
        text = objectives.drop_texts(text, self.residual.options.cond_drop, draws)
        return objectives.token_terms(self.residual_logits(known, text, valid, self.variant == "upstream"), asked)

    def stage_window(self, stage: str) -> int | None:
        """See :meth:`Trainable.stage_window`."""
        return WINDOW if self.known_stage(stage) == "rvq" else None

    def stage_parts(self, stage: str) -> list[nn.Module | None]:
        """The modules that a stage trains."""
        parts: dict[str, list[nn.Module | None]]
        parts = {"rvq": [self.rvq], "masked": [self.masked, self.text], "residual": [self.residual]}
        return parts[stage]

    def stage_parameters(self, stage: str) -> Iterator[nn.Parameter]:
        """A text encoder that is stored with the model trains in the stage ``masked`` and is frozen in the others."""
        if self.known_stage(stage) != "rvq":
            self.train_text(stage == "masked")
        parts = self.stage_parts(stage)
        return (p for part in parts if part is not None for p in part.parameters() if p.requires_grad)

    def prepare_stage(self, stage: str, batches: Iterable[MotionBatch]) -> None:
        """Refuse to train a transformer on codebooks that no training and no checkpoint has filled."""
        filled = all(bool(codes.any()) for codes in self.codebooks().values())
        require(
            filled or self.known_stage(stage) in ("rvq", "length"),
            f"stage={stage}: the codebooks are empty; train stage=rvq first, and start from it with init=<run folder>",
        )
